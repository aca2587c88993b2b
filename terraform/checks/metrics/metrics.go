// Package metrics holds the queries of alerts and dashboards against the page that lists what a worker measures.
package metrics

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"fnbridge.dev/terraform/checks/objects"
)

// Page has the labels of each metric by its name.
type Page map[string][]string

var (
	aRow   = regexp.MustCompile("(?m)^\\| `(fnbridge_[a-z_]+)` \\| (\\w+) \\|[^|]*\\| ([^|]*) \\|")
	aLabel = regexp.MustCompile("`([a-z_]+)`")
)

// scraped are the labels that Prometheus adds to each sample it scrapes.
var scraped = []string{"container", "endpoint", "instance", "job", "namespace", "pod", "service"}

// ReadPage reads docs/metrics.md.
func ReadPage(file string) (Page, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	page := Page{}
	for _, row := range aRow.FindAllStringSubmatch(string(text), -1) {
		has := slices.Clone(scraped)
		for _, label := range aLabel.FindAllStringSubmatch(row[3], -1) {
			has = append(has, label[1])
		}
		if row[2] != "histogram" {
			page[row[1]] = has
			continue
		}
		page[row[1]+"_bucket"] = append(slices.Clone(has), "le")
		page[row[1]+"_sum"], page[row[1]+"_count"] = has, has
	}
	if len(page) == 0 {
		return nil, fmt.Errorf("%s: found no metric, expected a table of them", file)
	}
	return page, nil
}

// Query is an expression and where it stands.
type Query struct {
	Where, Text string
}

// Queries are those of the alerts and the dashboards among objects.
func Queries(all []objects.Object) ([]Query, error) {
	var queries []Query
	for _, object := range all {
		switch object.Kind() {
		case "PrometheusRule":
			queries = append(queries, find(object.Address, object.Value)...)
		case "ConfigMap":
			data, _ := object.Value["data"].(map[string]any)
			for name, text := range data {
				if !strings.HasSuffix(name, ".json") {
					continue
				}
				var dashboard any
				if err := json.Unmarshal([]byte(text.(string)), &dashboard); err != nil {
					return nil, fmt.Errorf("%s: %s: %w", object.Address, name, err)
				}
				queries = append(queries, find(object.Address+" "+name, dashboard)...)
			}
		}
	}
	return queries, nil
}

// find finds every `expr`, and every query of a dashboard's variable, below a value; the nearest title, alert or name says where.
func find(where string, value any) []Query {
	var queries []Query
	switch value := value.(type) {
	case map[string]any:
		for _, name := range []string{"alert", "title", "name"} {
			if title, isText := value[name].(string); isText && title != "" {
				where += ": " + title
				break
			}
		}
		for key, inner := range value {
			text, isText := inner.(string)
			switch {
			case isText && (key == "expr" || key == "definition"):
				queries = append(queries, Query{where, text})
			default:
				queries = append(queries, find(where, inner)...)
			}
		}
	case []any:
		for _, inner := range value {
			queries = append(queries, find(where, inner)...)
		}
	}
	return queries
}

var (
	aVariable    = regexp.MustCompile(`\$\{?__(rate_)?interval\}?`)
	labelsOf     = regexp.MustCompile(`^label_values\((.*), *(\w+)\)$`)
	anyParameter = regexp.MustCompile(`\$\{?\w+\}?`)
)

// Problems are the queries that do not parse, or ask for a metric or a label that no worker has.
func (p Page) Problems(queries []Query) []string {
	var problems []string
	for _, query := range queries {
		for _, problem := range p.problems(query.Text) {
			problems = append(problems, fmt.Sprintf("%s: %s, in %s", query.Where, problem, query.Text))
		}
	}
	slices.Sort(problems)
	return problems
}

func (p Page) problems(text string) []string {
	parsed, err := parser.ParseExpr(concrete(text))
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	var known []string
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		metric, isMetric := node.(*parser.VectorSelector)
		if !isMetric {
			return nil
		}
		has, found := p[metric.Name]
		switch {
		case metric.Name == "":
			problems = append(problems, "a metric without a name")
		case !found && strings.HasPrefix(metric.Name, "fnbridge_"):
			problems = append(problems, "docs/metrics.md has no "+metric.Name)
		case !found:
			// Another program's metric, such as `up`: its labels are not ours to know.
			problems = append(problems, foreign(metric.Name)...)
		}
		known = append(known, has...)
		for _, matcher := range metric.LabelMatchers {
			if found && matcher.Name != labels.MetricName && !slices.Contains(has, matcher.Name) {
				problems = append(problems, fmt.Sprintf("%s has no label %s", metric.Name, matcher.Name))
			}
		}
		return nil
	})
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		aggregate, isAggregate := node.(*parser.AggregateExpr)
		if !isAggregate {
			return nil
		}
		for _, label := range aggregate.Grouping {
			if !slices.Contains(known, label) {
				problems = append(problems, "none of its metrics has the label "+label)
			}
		}
		return nil
	})
	return problems
}

// concrete is a query with x in place of what Grafana puts in.
func concrete(text string) string {
	text = aVariable.ReplaceAllString(text, "5m")
	text = anyParameter.ReplaceAllString(text, "x")
	if found := labelsOf.FindStringSubmatch(text); found != nil {
		text = fmt.Sprintf("max by (%s) (%s)", found[2], found[1])
	}
	return text
}

// foreign are problems with a metric that is not a worker's: only `up` is expected, which Prometheus has of each target.
func foreign(name string) []string {
	if name == "up" {
		return nil
	}
	return []string{"found " + name + ", expected a metric of docs/metrics.md, or up"}
}
