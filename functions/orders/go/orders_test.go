package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What the cases that all languages share don't show: single rules at their edges, and the server.

const orderOf = `{"records":[{"id":"orders/0/7","attempt":%d,"value":{"order_id":"o-1","customer_id":%q,"currency":"eur","items":[%s]}}]}`

func item(quantity, priceCents int) string {
	return fmt.Sprintf(`{"sku":" a","quantity":%d,"price_cents":%d}`, quantity, priceCents)
}

func parsed(t *testing.T, body string) record {
	t.Helper()
	records, err := batch([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return records[0]
}

func TestAnUnknownCustomerIsAskedForTwiceThenGivenUp(t *testing.T) {
	for attempt, want := range map[int]string{1: "retry", 2: "retry", 3: "dead_letter", 4: "dead_letter"} {
		if got := judge(parsed(t, fmt.Sprintf(orderOf, attempt, "c-404", item(1, 1)))); got.Action != want {
			t.Errorf("attempt %d: expected %s, found %+v", attempt, want, got)
		}
	}
}

func TestExpressBeginsAt500(t *testing.T) {
	for cents, want := range map[int]string{49_999: "standard", 50_000: "express"} {
		got := judge(parsed(t, fmt.Sprintf(orderOf, 1, "c-2", item(1, cents))))
		if shipping := got.Records[0].Value.(object)["shipping"]; shipping != want {
			t.Errorf("%d: expected %s, found %v", cents, want, shipping)
		}
	}
}

func TestQuantitiesHaveBounds(t *testing.T) {
	for quantity, want := range map[int]string{0: "dead_letter", 1: "deliver", 1000: "deliver", 1001: "dead_letter"} {
		if got := judge(parsed(t, fmt.Sprintf(orderOf, 1, "c-2", item(quantity, 1)))); got.Action != want {
			t.Errorf("%d: expected %s, found %+v", quantity, want, got)
		}
	}
}

func TestAHundredItemsAreAnOrderOneMoreIsNone(t *testing.T) {
	for count, want := range map[int]string{100: "deliver", 101: "dead_letter"} {
		items := strings.TrimSuffix(strings.Repeat(item(1, 1)+",", count), ",")
		if got := judge(parsed(t, fmt.Sprintf(orderOf, 1, "c-2", items))); got.Action != want {
			t.Errorf("%d: expected %s, found %+v", count, want, got)
		}
	}
}

func TestTheRecordItselfIsLeftAsItCame(t *testing.T) {
	r := parsed(t, fmt.Sprintf(orderOf, 1, "c-2", item(1, 1)))
	if got := judge(r).Records[0].Value.(object)["currency"]; got != "EUR" {
		t.Errorf("expected EUR, found %v", got)
	}
	order := r.Value.(object)
	if order["currency"] != "eur" || order["items"].([]any)[0].(object)["sku"] != " a" || order["units"] != nil {
		t.Errorf("expected the order as it came, found %v", order)
	}
}

func TestABugInTheRulesIsA500ThatNamesIt(t *testing.T) {
	defer log.SetOutput(log.Writer())
	log.SetOutput(io.Discard)
	server := httptest.NewServer(handler(func(record) verdict { panic("division by zero") }))
	defer server.Close()
	answer, err := http.Post(server.URL, "application/json", strings.NewReader(`{"records":[{"id":"orders/0/7"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusInternalServerError || !strings.Contains(string(body), "division by zero") {
		t.Errorf("expected 500 with the bug's name, found %d %s %v", answer.StatusCode, body, err)
	}
}
