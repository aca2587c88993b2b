package metrics

import (
	"strings"
	"testing"
	"time"
)

const of = `{namespace="streaming",job="fleet"}`

func untrue(t *testing.T, expression string, lasting time.Duration) string {
	t.Helper()
	problems, err := Untrue([]Alert{{"FnbridgeBreakerOpen", expression, lasting, "streaming", "fleet"}})
	if err != nil {
		t.Fatal(err)
	}
	// Of the others, none is there.
	var ours []string
	for _, problem := range problems {
		for _, about := range []string{"expected FnbridgeBreakerOpen to", "FnbridgeBreakerOpen fires", "FnbridgeBreakerOpen: "} {
			if strings.Contains(problem, about) {
				ours = append(ours, problem)
			}
		}
	}
	return strings.Join(ours, "\n")
}

func TestAnAlertThatFiresInTimeIsTrue(t *testing.T) {
	if problems := untrue(t, `max by (pipeline) (fnbridge_breaker_open`+of+`) > 0`, 2*time.Minute); problems != "" {
		t.Errorf("expected no problem, found %s", problems)
	}
}

func TestAnAlertThatNeverFiresOrAlwaysOrLateIsFound(t *testing.T) {
	for _, wrong := range []struct {
		expression string
		lasting    time.Duration
		problem    string
	}{
		{`max(fnbridge_breaker_open{job="another"}) > 0`, 0, "no story of terraform/checks/metrics makes it fire"},
		{`max(fnbridge_breaker_open` + of + `) >= 0`, 0, "a fleet at work: FnbridgeBreakerOpen fires, and nothing is wrong"},
		{`max(fnbridge_breaker_open` + of + `) > 0`, 4 * time.Minute, "expected FnbridgeBreakerOpen to fire 7m0s to 7m30s after the beginning, found 9m0s"},
		{`max(fnbridge_breaker_open` + of + `) > 0`, time.Hour, "the function goes away: expected FnbridgeBreakerOpen to fire"},
	} {
		if problems := untrue(t, wrong.expression, wrong.lasting); !strings.Contains(problems, wrong.problem) {
			t.Errorf("%s: expected %q, found %q", wrong.expression, wrong.problem, problems)
		}
	}
}
