package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// A record as fnbridge sends it.
type record struct {
	ID      string          `json:"id"`
	Key     *string         `json:"key"`
	Value   json.RawMessage `json:"value"`
	Attempt int             `json:"attempt"`
}

// A verdict is what becomes of one record.
type verdict struct {
	ID      string   `json:"id"`
	Action  string   `json:"action"`
	Records []result `json:"records,omitempty"`
	Reason  string   `json:"reason,omitempty"`
}

type result struct {
	Value any `json:"value"`
}

func judge(r record) verdict {
	if string(r.Value) == "null" {
		return verdict{ID: r.ID, Action: "drop"}
	}
	decoder := json.NewDecoder(bytes.NewReader(r.Value))
	decoder.UseNumber() // Numbers go out as they came in.
	var value map[string]any
	if err := decoder.Decode(&value); err != nil {
		return verdict{ID: r.ID, Action: "dead_letter", Reason: fmt.Sprintf("expected a JSON object, found %.60s", r.Value)}
	}
	value["fields"] = len(value)
	return verdict{ID: r.ID, Action: "deliver", Records: []result{{value}}}
}
