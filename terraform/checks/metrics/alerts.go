package metrics

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"fnbridge.dev/terraform/checks/objects"
)

// every is how often a fleet of the stories is scraped and its alerts are evaluated.
const every = 15 * time.Second

const (
	// lookback is for how long Prometheus takes a sample for the current one.
	lookback = 5 * time.Minute
	// patience is for a query of these few samples.
	patience = 10 * time.Second
)

// Alert is a rule, and whose samples it is about.
type Alert struct {
	Name, Expression string
	For              time.Duration
	namespace, job   string
}

// Alerts are the rules among objects.
func Alerts(all []objects.Object) ([]Alert, error) {
	var alerts []Alert
	for _, object := range all {
		if object.Kind() != "PrometheusRule" {
			continue
		}
		metadata, _ := object.Value["metadata"].(map[string]any)
		namespace, _ := metadata["namespace"].(string)
		// Rules and the service that is scraped, which gives the job its name, are called as the fleet is.
		job, _ := metadata["name"].(string)
		spec, _ := object.Value["spec"].(map[string]any)
		groups, _ := spec["groups"].([]any)
		for _, group := range groups {
			rules, _ := group.(map[string]any)["rules"].([]any)
			for _, rule := range rules {
				fields, _ := rule.(map[string]any)
				name, _ := fields["alert"].(string)
				expression, _ := fields["expr"].(string)
				lasting, _ := fields["for"].(string)
				duration, err := time.ParseDuration(lasting)
				if err != nil {
					return nil, fmt.Errorf("%s: %s: for: %w", object.Address, name, err)
				}
				alerts = append(alerts, Alert{name, expression, duration, namespace, job})
			}
		}
	}
	return alerts, nil
}

// Samples are one series: how it stands at each scrape; NaN where it is not there.
type Samples struct {
	Labels labels.Labels
	Values []float64
}

// database answers from samples in memory.
type database []Samples

func (d database) Querier(_, _ int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		var found []storage.Series
		for _, series := range d {
			matches := func(matcher *labels.Matcher) bool { return matcher.Matches(series.Labels.Get(matcher.Name)) }
			if !slices.ContainsFunc(matchers, func(matcher *labels.Matcher) bool { return !matches(matcher) }) {
				found = append(found, storage.NewListSeries(series.Labels, series.chunks()))
			}
		}
		return &set{SeriesSet: storage.EmptySeriesSet(), series: found, at: -1}
	}}, nil
}

// chunks are the samples with their times, and a mark where the series goes away, as Prometheus sets one.
func (s Samples) chunks() []chunks.Sample {
	var all []chunks.Sample
	wasThere := false
	for n, value := range s.Values {
		at := int64(n) * every.Milliseconds()
		switch {
		case !math.IsNaN(value):
			all = append(all, sample{at, value})
		case wasThere:
			all = append(all, sample{at, math.Float64frombits(staleNaN)})
		}
		wasThere = !math.IsNaN(value)
	}
	return all
}

// staleNaN is how Prometheus writes that a series is there no more.
const staleNaN = 0x7ff0000000000002

type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

// set goes through series.
type set struct {
	storage.SeriesSet
	series []storage.Series
	at     int
}

func (s *set) Next() bool         { s.at++; return s.at < len(s.series) }
func (s *set) At() storage.Series { return s.series[s.at] }
func (s *set) Err() error         { return nil }

// Firing is when an alert first fires over samples, as Prometheus would have it; false where it never does.
func (a Alert) Firing(all []Samples) (time.Duration, bool, error) {
	engine := newEngine()
	defer engine.Close()
	end := 0
	for _, series := range all {
		end = max(end, len(series.Values))
	}
	since := map[string]time.Duration{}
	for n := range end {
		now := time.Duration(n) * every
		holding, err := holds(engine, database(all), a.Expression, now)
		if err != nil {
			return 0, false, fmt.Errorf("%s: %w", a.Name, err)
		}
		for of := range since {
			if !holding[of] {
				delete(since, of)
			}
		}
		for of := range holding {
			if _, pending := since[of]; !pending {
				since[of] = now
			}
			if now-since[of] >= a.For {
				return now, true, nil
			}
		}
	}
	return 0, false, nil
}

// holds are the labels that an expression has a value for.
func holds(engine *promql.Engine, samples database, expression string, now time.Duration) (map[string]bool, error) {
	query, err := engine.NewInstantQuery(context.Background(), samples, nil, expression, time.UnixMilli(now.Milliseconds()))
	if err != nil {
		return nil, err
	}
	defer query.Close()
	result := query.Exec(context.Background())
	vector, err := result.Vector()
	if err != nil {
		return nil, err
	}
	holding := map[string]bool{}
	for _, value := range vector {
		holding[value.Metric.String()] = true
	}
	return holding, nil
}

// Fleet is whose samples alerts are about: all of them are one fleet's.
func Fleet(alerts []Alert) (namespace, job string) {
	if len(alerts) == 0 {
		return "", ""
	}
	return alerts[0].namespace, alerts[0].job
}

// Untrue are alerts that don't do what a story of a fleet says that they do: fire in time, and fire in no other.
func Untrue(alerts []Alert) ([]string, error) {
	if len(alerts) == 0 {
		return nil, nil
	}
	var problems []string
	told := map[string]bool{}
	for _, story := range stories(Fleet(alerts)) {
		var fired []string
		for _, alert := range alerts {
			at, fires, err := alert.Firing(story.samples)
			switch {
			case err != nil:
				return nil, err
			case !fires:
				continue
			}
			fired, told[alert.Name] = append(fired, alert.Name), true
			if expected, is := story.fires[alert.Name]; is && (at < expected.from || at > expected.to) {
				problems = append(problems, fmt.Sprintf("%s: expected %s to fire %s to %s after the beginning, found %s", story.name, alert.Name, expected.from, expected.to, at))
			}
		}
		for name := range story.fires {
			if !slices.Contains(fired, name) {
				problems = append(problems, fmt.Sprintf("%s: expected %s to fire, found %s", story.name, name, listed(fired)))
			}
		}
		for _, name := range fired {
			if _, is := story.fires[name]; !is {
				problems = append(problems, fmt.Sprintf("%s: %s fires, and nothing is wrong that it tells of", story.name, name))
			}
		}
	}
	for _, alert := range alerts {
		if !told[alert.Name] {
			problems = append(problems, alert.Name+": no story of terraform/checks/metrics makes it fire")
		}
	}
	slices.Sort(problems)
	return problems, nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
