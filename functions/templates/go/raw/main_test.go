package main

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestARecordGetsAnAnswer(t *testing.T) {
	for _, row := range []struct {
		body, expected string
		status         int
	}{
		{`{"id":7}`, `{"fields":1,"id":7}`, 200},
		{"", "", 204},
		{"[1,2]", "expected a JSON object", 422},
		{"null", "expected a JSON object", 422},
	} {
		answer := httptest.NewRecorder()
		serve(answer, httptest.NewRequest("POST", "/", strings.NewReader(row.body)))
		if found := strings.TrimSpace(answer.Body.String()); answer.Code != row.status || found != row.expected {
			t.Errorf("%s: found %d %s, expected %d %s", row.body, answer.Code, found, row.status, row.expected)
		}
	}
}
