package main

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func call(data string) *httptest.ResponseRecorder {
	request := httptest.NewRequest("POST", "/", strings.NewReader(data))
	request.Header.Set("ce-id", "partition:0/offset:7")
	answer := httptest.NewRecorder()
	serve(answer, request)
	return answer
}

func TestAnObjectBecomesAnEvent(t *testing.T) {
	answer := call(`{"id":7}`)
	if found := strings.TrimSpace(answer.Body.String()); answer.Code != 200 || found != `{"fields":1,"id":7}` {
		t.Errorf("found %d %s", answer.Code, found)
	}
	for name, expected := range map[string]string{"ce-specversion": "1.0", "ce-id": "partition:0/offset:7", "ce-type": "my-function.counted"} {
		if found := answer.Header().Get(name); found != expected {
			t.Errorf("%s: found %s, expected %s", name, found, expected)
		}
	}
}

func TestOthersHaveAStatus(t *testing.T) {
	for data, expected := range map[string]int{"": 204, "[1,2]": 422, "null": 422, "{": 422} {
		if found := call(data).Code; found != expected {
			t.Errorf("%s: found %d, expected %d", data, found, expected)
		}
	}
}
