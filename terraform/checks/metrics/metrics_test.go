package metrics

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fnbridge.dev/terraform/checks/objects"
)

func page(t *testing.T) Page {
	t.Helper()
	file := filepath.Join(t.TempDir(), "metrics.md")
	text := "| name | kind | unit | labels | what it says |\n|---|---|---|---|---|\n" +
		"| `fnbridge_breaker_open` | gauge | 0 or 1 | `pipeline` | Open. |\n" +
		"| `fnbridge_call_duration_seconds` | histogram | seconds | `pipeline`, `outcome` | Calls. |\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	page, err := ReadPage(file)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestAQueryThatNoWorkerAnswersIsFound(t *testing.T) {
	for query, problem := range map[string]string{
		`max by (pipeline) (fnbridge_breaker_open{namespace="x",pipeline=~"$pipeline"}) > 0`:                   "",
		`histogram_quantile(0.5, sum by (le) (rate(fnbridge_call_duration_seconds_bucket[$__rate_interval])))`: "",
		`label_values(fnbridge_breaker_open, pipeline)`:                                                        "",
		`up{job="fnbridge"} == 0`:                   "",
		`fnbridge_breaker_opened`:                   "has no fnbridge_breaker_opened",
		`fnbridge_call_duration_seconds`:            "has no fnbridge_call_duration_seconds",
		`fnbridge_breaker_open{outcome="x"}`:        "no label outcome",
		`sum by (sink) (fnbridge_breaker_open)`:     "label sink",
		`label_values(fnbridge_breaker_open, sink)`: "label sink",
		`sum by (pipeline) (fnbridge_breaker_open`:  "unclosed left parenthesis",
		`process_cpu_seconds_total`:                 "found process_cpu_seconds_total",
		`{pipeline="orders"}`:                       "without a name",
	} {
		problems := page(t).Problems([]Query{{"here", query}})
		switch {
		case problem == "" && len(problems) != 0:
			t.Errorf("%s: expected no problem, found %q", query, problems)
		case problem != "" && !slices.ContainsFunc(problems, func(found string) bool { return strings.Contains(found, problem) }):
			t.Errorf("%s: expected %q, found %q", query, problem, problems)
		}
	}
}

func TestAQueryThatFindsNothingIsFound(t *testing.T) {
	for query, isEmpty := range map[string]bool{
		`sum(fnbridge_breaker_open{namespace="streaming",job="fleet",pipeline=~"$pipeline"})`:                                false,
		`histogram_quantile(0.5, sum by (le) (rate(fnbridge_call_duration_seconds_bucket[$__rate_interval])))`:               false,
		`label_values(fnbridge_breaker_open, pipeline)`:                                                                      false,
		`sum(fnbridge_breaker_open{job="another"})`:                                                                          true,
		`max by (pipeline) (fnbridge_breaker_open) and max by (outcome) (fnbridge_call_duration_seconds_count{outcome="x"})`: true,
	} {
		problems, err := page(t).Empty([]Query{{"here", query}}, "streaming", "fleet")
		if err != nil {
			t.Fatal(err)
		}
		if isEmpty != (len(problems) == 1) {
			t.Errorf("%s: expected it to be empty: %t, found %q", query, isEmpty, problems)
		}
	}
}

func TestQueriesOfAlertsAndDashboardsAreFound(t *testing.T) {
	rule := map[string]any{"kind": "PrometheusRule", "spec": map[string]any{"groups": []any{
		map[string]any{"name": "g", "rules": []any{map[string]any{"alert": "A", "expr": "a"}}},
	}}}
	dashboard := map[string]any{"kind": "ConfigMap", "data": map[string]any{
		"d.json": `{"title": "D", "panels": [{"title": "P", "targets": [{"expr": "b"}]}], "templating": {"list": [{"name": "v", "definition": "c"}]}}`,
		"x.yaml": "expr: no dashboard",
	}}
	queries, err := Queries([]objects.Object{{Address: "rule", Value: rule}, {Address: "map", Value: dashboard}})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, query := range queries {
		found = append(found, query.Text)
	}
	slices.Sort(found)
	if !slices.Equal(found, []string{"a", "b", "c"}) {
		t.Errorf("expected a, b and c, found %q", queries)
	}
}
