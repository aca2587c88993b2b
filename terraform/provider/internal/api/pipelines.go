package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"time"

	"fnbridge.dev/terraform-provider-fnbridge/internal/contract"
)

const (
	lookEvery = 500 * time.Millisecond
)

// Document is a pipeline as it was sent, JSON.
type Document = map[string]any

// Pipeline is one that is registered.
type Pipeline struct {
	Document Document
	Status   map[string]any
	// Revision counts changes from 1; 0: it is from a file.
	Revision int64
}

// Unconfirmed: nobody knows whether the pipeline was created.
type Unconfirmed struct{ Cause error }

func (u *Unconfirmed) Error() string {
	return "no answer came, and the pipeline may be registered or not: " + u.Cause.Error()
}

func (u *Unconfirmed) Unwrap() error { return u.Cause }

func pathOf(name string) string { return "/v1/pipelines/" + url.PathEscape(name) }

// Pipeline reads one.
func (c *Client) Pipeline(ctx context.Context, name string) (*Pipeline, error) {
	answer := Document{}
	if err := c.asked(ctx, request{method: http.MethodGet, path: pathOf(name)}, &answer); err != nil {
		return nil, err
	}
	return split(answer), nil
}

// Create registers one under a name that is free. When an answer is lost, what is found under the name then counts as created if
// it is this document, unchanged since.
func (c *Client) Create(ctx context.Context, name string, document Document) (*Pipeline, error) {
	var made *Pipeline
	lost := false
	put := request{method: http.MethodPut, path: pathOf(name), header: map[string]string{"if-none-match": "*"}, body: document}
	create := func() error {
		answer := Document{}
		err := c.once(ctx, put, &answer)
		if Is(err, "name_in_use") && lost {
			made, err = c.ours(ctx, name, document, err)
			return err
		}
		made = split(answer)
		return err
	}
	err := patiently(ctx, create, func() { lost = true })
	if err == nil {
		return made, nil
	}
	if lost && !Is(err, "name_in_use") {
		return nil, &Unconfirmed{err}
	}
	return nil, err
}

// ours is what is registered, if it is this document as it was created; else the refusal stands.
func (c *Client) ours(ctx context.Context, name string, document Document, refusal error) (*Pipeline, error) {
	answer := Document{}
	if err := c.once(ctx, request{method: http.MethodGet, path: pathOf(name)}, &answer); err != nil {
		return nil, err
	}
	found := split(answer)
	var history struct {
		Changes []struct {
			Revision int64  `json:"revision"`
			Verb     string `json:"verb"`
		} `json:"changes"`
	}
	last := request{method: http.MethodGet, path: pathOf(name) + "/history", query: url.Values{"limit": {"1"}}}
	if err := c.once(ctx, last, &history); err != nil {
		return nil, err
	}
	untouched := len(history.Changes) == 1 && history.Changes[0].Verb == "created" && history.Changes[0].Revision == found.Revision
	if untouched && Same(found.Document, document) {
		return found, nil
	}
	return nil, refusal
}

// Change gives a pipeline another document, unless it has another revision than this one; 0: whatever it has.
func (c *Client) Change(ctx context.Context, name string, document Document, revision int64) (*Pipeline, error) {
	var made *Pipeline
	lost := false
	put := request{method: http.MethodPut, path: pathOf(name), body: document}
	if revision > 0 {
		put.header = map[string]string{"if-match": fmt.Sprintf(`"%d"`, revision)}
	}
	change := func() error {
		answer := Document{}
		err := c.once(ctx, put, &answer)
		if Is(err, "revision_mismatch") && lost {
			again := Document{}
			if reading := c.once(ctx, request{method: http.MethodGet, path: pathOf(name)}, &again); reading != nil {
				return reading
			}
			if made = split(again); Same(made.Document, document) {
				return nil
			}
			return err
		}
		made = split(answer)
		return err
	}
	if err := patiently(ctx, change, func() { lost = true }); err != nil {
		return nil, err
	}
	return made, nil
}

// Delete stops a pipeline, waits until none of its records is on the wire, and takes it off. One that is not there is gone.
func (c *Client) Delete(ctx context.Context, name string, withOffsets bool) error {
	pause := request{method: http.MethodPost, path: pathOf(name) + "/pause"}
	if err := c.asked(ctx, pause, nil); err != nil {
		return unlessGone(err)
	}
	err := c.drained(ctx, name)
	if err == nil {
		asked := request{method: http.MethodDelete, path: pathOf(name)}
		if withOffsets {
			asked.query = url.Values{"offsets": {"delete"}}
		}
		err = c.asked(ctx, asked, nil)
	}
	var inFlight *InFlight
	if unlessGone(err) == nil || errors.As(err, &inFlight) {
		return unlessGone(err)
	}
	return &Paused{err}
}

func unlessGone(err error) error {
	if Is(err, "not_found") {
		return nil
	}
	return err
}

// Paused: a pipeline that was to be deleted was paused, and more is not known.
type Paused struct{ Cause error }

func (p *Paused) Error() string {
	return p.Cause.Error() + " The pipeline was paused before that, and may be registered still: destroy it again to go on, or apply to have it run."
}

func (p *Paused) Unwrap() error { return p.Cause }

// InFlight: a pipeline that was paused may have records on the wire when it is waited no longer.
type InFlight struct {
	Records     int64
	Interrupted bool
}

func (f *InFlight) Error() string {
	stands := "Some of its records may still be on the wire."
	switch {
	case f.Records == 1:
		stands = "1 record is still on the wire."
	case f.Records > 1:
		stands = fmt.Sprintf("%d records are still on the wire.", f.Records)
	}
	const paused = " The pipeline is paused and stays registered, nothing is lost: "
	if f.Interrupted {
		return "Terraform was interrupted while it waited for records on the wire. " + stands + paused + "destroy it again to go on, or apply to have it run"
	}
	return stands + paused + "destroy it again once its function has answered, or allow more time with `timeouts.delete`"
}

type standing struct {
	Tasks []struct {
		Holds []struct {
			Doing    string `json:"doing"`
			InFlight int64  `json:"in_flight"`
		} `json:"holds"`
	} `json:"tasks"`
}

// drained waits until none of a paused pipeline's records is on the wire.
func (c *Client) drained(ctx context.Context, name string) error {
	var records int64
	for {
		var now standing
		err := c.asked(ctx, request{method: http.MethodGet, path: pathOf(name) + "/status"}, &now)
		interrupted := errors.Is(ctx.Err(), context.Canceled)
		if err != nil && (ctx.Err() == nil || records == 0) && !interrupted {
			return err
		}
		if err == nil {
			var none bool
			if records, none = now.onTheWire(); none {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return &InFlight{records, errors.Is(ctx.Err(), context.Canceled)}
		case <-time.After(lookEvery):
		}
	}
}

// onTheWire counts records; a partition that has not heard of the pause yet may put more there.
func (s *standing) onTheWire() (records int64, none bool) {
	none = true
	for _, task := range s.Tasks {
		for _, held := range task.Holds {
			records += held.InFlight
			switch held.Doing {
			case "running", "waiting_for_function", "throttled", "rebalancing":
				none = false
			}
		}
	}
	return records, none && records == 0
}

// Checked is what a check found.
type Checked struct {
	Valid    bool               `json:"valid"`
	Would    string             `json:"would"`
	Revision int64              `json:"revision"`
	Problems []contract.Problem `json:"problems"`
}

// Check validates a document and changes nothing.
func (c *Client) Check(ctx context.Context, document Document) (*Checked, error) {
	var checked Checked
	asked := request{method: http.MethodPost, path: "/v1/pipelines:check", body: document}
	err := c.once(ctx, asked, &checked)
	var problem *Problem
	if errors.As(err, &problem) && len(problem.Fields()) > 0 {
		return &Checked{Problems: problem.Fields(), Revision: problem.Revision}, nil
	}
	return &checked, err
}

// Same tells whether two documents say the same.
func Same(a, b Document) bool { return reflect.DeepEqual(normal(a), normal(b)) }

// normal leaves out what is null, as absent is the same, and has numbers in one form.
func normal(value any) any {
	switch value := value.(type) {
	case map[string]any:
		fields := map[string]any{}
		for name, field := range value {
			if field := normal(field); field != nil {
				fields[name] = field
			}
		}
		return fields
	case []any:
		items := make([]any, len(value))
		for at, item := range value {
			items[at] = normal(item)
		}
		return items
	case interface{ Float64() (float64, error) }:
		number, err := value.Float64()
		if err != nil {
			return nil
		}
		return number
	default:
		return value
	}
}

func split(answer Document) *Pipeline {
	pipeline := &Pipeline{Document: Document{}}
	for name, value := range answer {
		switch name {
		case "revision":
			if number, ok := value.(interface{ Int64() (int64, error) }); ok {
				pipeline.Revision, _ = number.Int64()
			}
		case "status":
			pipeline.Status, _ = value.(map[string]any)
		default:
			pipeline.Document[name] = value
		}
	}
	return pipeline
}
