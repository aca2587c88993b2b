// Command orders cleans and enriches orders, and serves its verdicts under the contract json.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"
)

// Customers by their id; a function in earnest keeps a cache of its customer service.
var customers = map[string]customer{
	"c-1": {Country: "DE", Tier: "gold"},
	"c-2": {Country: "SG", Tier: "silver"},
	"c-3": {Country: "BR", Tier: "basic"},
}

const (
	expressFromCents     = 50_000
	attemptsForACustomer = 3
	retryAfterMs         = 2_000
)

var threeLetters = regexp.MustCompile(`^[A-Za-z]{3}$`)

type customer struct {
	Country string `json:"country"`
	Tier    string `json:"tier"`
}

type record struct {
	ID      string `json:"id"`
	Value   any    `json:"value"`
	Attempt int    `json:"attempt"`
}

type verdict struct {
	ID      string   `json:"id"`
	Action  string   `json:"action"`
	Records []result `json:"records,omitempty"`
	AfterMs int      `json:"after_ms,omitempty"`
	Reason  string   `json:"reason,omitempty"`
}

type result struct {
	Value any `json:"value"`
}

// object is a JSON object, with fields that this function need not know.
type object = map[string]any

// judge says what becomes of one record.
func judge(r record) verdict {
	order, err := clean(r.Value)
	if err != nil {
		return verdict{ID: r.ID, Action: "dead_letter", Reason: err.Error()}
	}
	if order == nil {
		return verdict{ID: r.ID, Action: "drop"}
	}
	id := order["customer_id"].(string)
	if c, known := customers[id]; known {
		return verdict{ID: r.ID, Action: "deliver", Records: []result{{enrich(order, c)}}}
	}
	// A customer is often created moments after the first order.
	if r.Attempt < attemptsForACustomer {
		return verdict{ID: r.ID, Action: "retry", AfterMs: retryAfterMs}
	}
	reason := fmt.Sprintf("customer_id: found no customer %s in %d attempts", found(id), attemptsForACustomer)
	return verdict{ID: r.ID, Action: "dead_letter", Reason: reason}
}

// clean gives the order with tidy fields, nil if there is nothing to do for it. Its error is one that no later call can help.
func clean(value any) (object, error) {
	if value == nil {
		return nil, nil
	}
	order, ok := value.(object)
	if !ok {
		return nil, fmt.Errorf("expected an order as a JSON object, found %s", found(value))
	}
	if order["test"] == true {
		return nil, nil
	}
	items, ok := order["items"].([]any)
	if !ok || len(items) < 1 || len(items) > 100 {
		return nil, fmt.Errorf("items: expected a list of 1 to 100 items, found %s", field(order, "items"))
	}
	tidy := with(order)
	var err error
	if tidy["order_id"], err = text(order, "order_id", ""); err != nil {
		return nil, err
	}
	if tidy["customer_id"], err = text(order, "customer_id", ""); err != nil {
		return nil, err
	}
	if tidy["currency"], err = currency(order); err != nil {
		return nil, err
	}
	tidyItems := make([]object, len(items))
	for n, item := range items {
		if tidyItems[n], err = cleanItem(item, fmt.Sprintf("items[%d]", n)); err != nil {
			return nil, err
		}
	}
	tidy["items"] = tidyItems
	return tidy, nil
}

func cleanItem(value any, at string) (object, error) {
	item, ok := value.(object)
	if !ok {
		return nil, fmt.Errorf("%s: expected an item as a JSON object, found %s", at, found(value))
	}
	tidy := with(item)
	var err error
	if tidy["sku"], err = text(item, "sku", at+"."); err != nil {
		return nil, err
	}
	if tidy["quantity"], err = whole(item, "quantity", at+".", 1, 1_000); err != nil {
		return nil, err
	}
	if tidy["price_cents"], err = whole(item, "price_cents", at+".", 0, 100_000_000); err != nil {
		return nil, err
	}
	return tidy, nil
}

// enrich gives the order with what is known of its customer, and what can be computed from it.
func enrich(order object, c customer) object {
	var units, total int64
	for _, item := range order["items"].([]object) {
		quantity := item["quantity"].(int64)
		units += quantity
		total += quantity * item["price_cents"].(int64)
	}
	shipping := "standard"
	if c.Tier == "gold" || total >= expressFromCents {
		shipping = "express"
	}
	rich := with(order)
	rich["customer"], rich["units"], rich["total_cents"], rich["shipping"] = c, units, total, shipping
	return rich
}

func text(value object, name, at string) (string, error) {
	said, _ := value[name].(string)
	tidy := strings.TrimSpace(said)
	if tidy == "" {
		return "", fmt.Errorf("%s%s: expected text, found %s", at, name, field(value, name))
	}
	return tidy, nil
}

func currency(value object) (string, error) {
	code, _ := value["currency"].(string)
	if !threeLetters.MatchString(code) {
		return "", fmt.Errorf("currency: expected a three-letter code, found %s", field(value, "currency"))
	}
	return strings.ToUpper(code), nil
}

func whole(value object, name, at string, least, most int64) (int64, error) {
	said, _ := value[name].(json.Number)
	number, err := said.Float64()
	if err != nil || number != math.Trunc(number) || number < float64(least) || number > float64(most) {
		return 0, fmt.Errorf("%s%s: expected a whole number from %d to %d, found %s", at, name, least, most, field(value, name))
	}
	return int64(number), nil
}

// with copies an object, so that the record stays as it came.
func with(value object) object {
	copied := make(object, len(value)+4)
	for name, field := range value {
		copied[name] = field
	}
	return copied
}

func field(value object, name string) string {
	if said, is := value[name]; is {
		return found(said)
	}
	return "nothing"
}

// found gives a value as compact JSON, shortened.
func found(value any) string {
	var compact bytes.Buffer
	encoder := json.NewEncoder(&compact)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Sprintf("%v", value)
	}
	characters := []rune(strings.TrimSuffix(compact.String(), "\n"))
	if len(characters) > 60 {
		return string(characters[:60]) + "…"
	}
	return string(characters)
}
