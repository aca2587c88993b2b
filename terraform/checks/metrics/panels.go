package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// everything is a worker that says all that the page lists, and counts up with each scrape; x is what each label has.
func (p Page) everything(namespace, job string) []Samples {
	var all []Samples
	for name, has := range p {
		of := map[string]string{}
		for _, label := range has {
			of[label] = "x"
		}
		of["__name__"], of["namespace"], of["job"] = name, namespace, job
		bounds := []string{""}
		if slices.Contains(has, "le") {
			bounds = []string{"0.1", "+Inf"}
		}
		for _, bound := range bounds {
			if bound != "" {
				of["le"] = bound
			}
			all = append(all, Samples{labels.FromMap(of), counting()})
		}
	}
	return append(all, Samples{labels.FromStrings("__name__", "up", "namespace", namespace, "job", job), counting()})
}

func counting() []float64 {
	values := make([]float64, scrapes)
	for scrape := range values {
		values[scrape] = float64(scrape)
	}
	return values
}

// Empty are the queries that find nothing where a worker says everything: of another fleet, or of labels that never meet.
func (p Page) Empty(queries []Query, namespace, job string) ([]string, error) {
	engine := newEngine()
	defer engine.Close()
	samples := database(p.everything(namespace, job))
	var problems []string
	for _, query := range queries {
		found, err := holds(engine, samples, concrete(query.Text), every*40)
		switch {
		case err != nil:
			return nil, err
		// An alert that holds still is no problem; `Untrue` has them.
		case len(found) == 0 && !strings.Contains(query.Where, ": Fnbridge"):
			problems = append(problems, query.Where+": finds nothing where a worker says everything, in "+query.Text)
		}
	}
	slices.Sort(problems)
	return problems, nil
}

func newEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: patience, LookbackDelta: lookback, EnableNegativeOffset: true})
}
