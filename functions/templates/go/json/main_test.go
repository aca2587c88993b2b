package main

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestABatchGetsAVerdictARecord(t *testing.T) {
	batch := `{"records":[{"id":"t/0/1","value":{"id":7}},{"id":"t/0/2","value":null},{"id":"t/0/3","value":[1,2]}]}`
	answer := httptest.NewRecorder()
	serve(answer, httptest.NewRequest("POST", "/", strings.NewReader(batch)))
	expected := `{"results":[{"id":"t/0/1","action":"deliver","records":[{"value":{"fields":1,"id":7}}]},` +
		`{"id":"t/0/2","action":"drop"},{"id":"t/0/3","action":"dead_letter","reason":"expected a JSON object, found [1,2]"}]}`
	if found := strings.TrimSpace(answer.Body.String()); answer.Code != 200 || found != expected {
		t.Errorf("found %d %s, expected %s", answer.Code, found, expected)
	}
}

func TestWhatIsNoBatchIsRefused(t *testing.T) {
	answer := httptest.NewRecorder()
	serve(answer, httptest.NewRequest("POST", "/", strings.NewReader("{")))
	if answer.Code != 400 {
		t.Errorf("found %d, expected 400", answer.Code)
	}
}
