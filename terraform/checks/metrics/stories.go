package metrics

import (
	"maps"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// story is half an hour of a fleet of two workers, and which alerts it fires, and when.
type story struct {
	name    string
	fires   map[string]span
	samples []Samples
}

// span is from when to when, after the story's beginning.
type span struct{ from, to time.Duration }

const (
	scrapes = int(30 * time.Minute / every)
	// trouble begins after five minutes.
	trouble = int(5 * time.Minute / every)
	away    = -1.0
)

// series is how a metric stands at each scrape.
type series func(scrape int) float64

func always(value float64) series { return func(int) float64 { return value } }

func growing(by float64) series { return func(scrape int) float64 { return by * float64(scrape) } }

// then is one series until trouble begins, and another one after it.
func (s series) then(other series) series {
	return func(scrape int) float64 {
		if scrape < trouble {
			return s(scrape)
		}
		return other(scrape - trouble)
	}
}

// healthy is what a worker says while all is well: it holds some records, and settles them.
func healthy() map[string]series {
	return map[string]series{
		"up":                                always(1),
		"fnbridge_pipeline_running":         always(1),
		"fnbridge_unsettled_records":        always(5),
		"fnbridge_oldest_unsettled_seconds": always(0.2),
		"fnbridge_settled_records_total":    growing(1000),
		"fnbridge_breaker_open":             always(0),
		"fnbridge_guard_tripped":            always(0),
		"fnbridge_dead_letters_blocked":     always(0),
		"fnbridge_sink_away":                always(0),
		"fnbridge_sink_blocked":             always(0),
	}
}

// but is a healthy worker whose metrics differ from when trouble begins.
func but(changes map[string]series) map[string]series {
	worker := healthy()
	for name, change := range changes {
		before, has := worker[name]
		if !has {
			before = always(away)
		}
		worker[name] = before.then(change)
	}
	return worker
}

func with(changes, more map[string]series) map[string]series {
	all := maps.Clone(changes)
	maps.Copy(all, more)
	return all
}

// gone is a worker that nobody knows of any more, or one that does not answer.
func gone(up float64) map[string]series {
	changes := map[string]series{}
	for name := range healthy() {
		changes[name] = always(away)
	}
	changes["up"] = always(up)
	return but(changes)
}

// upgraded is a worker that is away for 45 s, beginning with a scrape.
func upgraded(from int) map[string]series {
	worker := healthy()
	for name, stands := range worker {
		worker[name] = func(scrape int) float64 {
			if scrape >= from && scrape < from+3 {
				return away
			}
			return stands(scrape)
		}
	}
	return worker
}

// seldom gets a record every ten minutes, after which it has settled it.
func seldom() map[string]series {
	worker := healthy()
	count := func(scrape int) float64 { return math.Floor(float64(scrape) / 40) }
	worker["fnbridge_settled_records_total"] = count
	worker["fnbridge_unsettled_records"] = func(scrape int) float64 {
		if scrape%40 == 39 {
			return 1
		}
		return 0
	}
	return worker
}

func minutes(from, to float64) span {
	minute := func(n float64) time.Duration { return time.Duration(n * float64(time.Minute)) }
	return span{minute(from), minute(to)}
}

// stories are told with the thresholds that the module has by default.
func stories(namespace, job string) []story {
	fleet := func(workers ...map[string]series) []Samples {
		var all []Samples
		for n, worker := range workers {
			for name, stands := range worker {
				all = append(all, samples(namespace, job, n, name, stands))
			}
		}
		return all
	}
	one := func(name string, fires map[string]span, changes map[string]series) story {
		return story{name, fires, fleet(but(changes), healthy())}
	}
	stuck := map[string]series{
		"fnbridge_settled_records_total":    always(float64(trouble-1) * 1000),
		"fnbridge_unsettled_records":        always(500),
		"fnbridge_oldest_unsettled_seconds": growing(every.Seconds()),
	}
	return []story{
		{"a fleet at work", nil, fleet(healthy(), healthy())},
		{"a record every ten minutes", nil, fleet(seldom(), seldom())},
		{"an upgrade", nil, fleet(upgraded(trouble), upgraded(trouble+4))},
		one("a partition settles nothing any more", map[string]span{
			"FnbridgePartitionStuck": minutes(10, 11.5), "FnbridgeOldestUnsettled": minutes(20, 22),
		}, stuck),
		one("a record is given up, as the first of its kind", map[string]span{"FnbridgeNewDeadLetters": minutes(5, 5.5)},
			map[string]series{"fnbridge_dead_letters_arrived_total": always(1)}),
		one("the function goes away", map[string]span{"FnbridgeBreakerOpen": minutes(7, 7.5), "FnbridgeOldestUnsettled": minutes(20, 22)},
			with(stuck, map[string]series{"fnbridge_breaker_open": always(1)})),
		one("a guard trips", map[string]span{"FnbridgeGuardTripped": minutes(6, 6.5)}, map[string]series{"fnbridge_guard_tripped": always(1)}),
		one("a dead-letter topic can't be written", map[string]span{"FnbridgeDeadLettersBlocked": minutes(6, 6.5)},
			map[string]series{"fnbridge_dead_letters_blocked": always(1)}),
		one("a sink goes away", map[string]span{"FnbridgeSinkAway": minutes(10, 10.5)}, map[string]series{"fnbridge_sink_away": always(1)}),
		one("a sink refuses", map[string]span{"FnbridgeSinkBlocked": minutes(6, 6.5)}, map[string]series{"fnbridge_sink_blocked": always(1)}),
		one("a right is taken away", map[string]span{"FnbridgeRightMissing": minutes(6, 6.5)}, map[string]series{"fnbridge_missing_right": always(1)}),
		one("a pipeline stops", map[string]span{"FnbridgePipelineNotRunning": minutes(15, 15.5)}, map[string]series{"fnbridge_pipeline_running": always(0)}),
		{"a worker does not answer", map[string]span{"FnbridgeWorkerDown": minutes(7, 7.5), "FnbridgeWorkersMissing": minutes(10, 10.5)}, fleet(gone(0), healthy())},
		{"a pod finds no node", map[string]span{"FnbridgeWorkersMissing": minutes(10, 10.5)}, fleet(gone(away), healthy())},
		{"nobody is left", map[string]span{"FnbridgeWorkersMissing": minutes(10, 10.5)}, fleet(gone(away), gone(away))},
	}
}

// samples are a worker's series, with the labels that Prometheus gives and those that a worker does.
func samples(namespace, job string, worker int, name string, stands series) Samples {
	values := make([]float64, scrapes)
	for scrape := range values {
		values[scrape] = stands(scrape)
		if values[scrape] == away {
			values[scrape] = math.NaN()
		}
	}
	pod := job + "-" + string(rune('0'+worker))
	all := map[string]string{"__name__": name, "namespace": namespace, "job": job, "pod": pod, "instance": pod}
	if name != "up" {
		// Each worker has a partition of its own; a query takes of these what its metric has.
		all["pipeline"], all["topic"], all["partition"] = "orders", "orders", string(rune('0'+worker))
		all["stage"], all["group"], all["sink"], all["guard"], all["right"] = "function", "a1", "out", "failed", "Read on topic `orders`"
	}
	return Samples{labels.FromMap(all), values}
}
