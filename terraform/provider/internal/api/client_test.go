package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve answers each request from the next of these, and the last one again and again.
func serve(t *testing.T, answers ...http.HandlerFunc) *Client {
	t.Helper()
	at := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := answers[min(at, len(answers)-1)]
		at++
		now(w, r)
	}))
	t.Cleanup(server.Close)
	client, err := New(server.URL, "t", "", "test")
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func answer(status int, kind string, body any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("content-type", kind)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
}

func refuse(status int, code string) http.HandlerFunc {
	return answer(status, "application/problem+json", map[string]any{"status": status, "code": code, "detail": "d", "revision": 7})
}

func lose(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

var (
	document = Document{"name": "a", "tasks": json.Number("3")}
	created  = answer(201, "application/json", map[string]any{"name": "a", "tasks": 3, "revision": 1, "status": map[string]any{}})
)

func history(verb string) http.HandlerFunc {
	return answer(200, "application/json", map[string]any{"changes": []any{map[string]any{"verb": verb, "revision": 1}}})
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestStoreThatIsAwayIsWaitedFor(t *testing.T) {
	made, err := serve(t, refuse(503, "store_away"), created).Create(soon(t), "a", document)
	if err != nil || made.Revision != 1 || !Same(made.Document, document) {
		t.Fatal(made, err)
	}
}

func TestLostAnswerIsOursOnlyIfNobodyTouchedIt(t *testing.T) {
	taken := refuse(412, "name_in_use")
	if made, err := serve(t, lose, taken, created, history("created")).Create(soon(t), "a", document); err != nil || made.Revision != 1 {
		t.Fatal(made, err)
	}
	for name, answers := range map[string][]http.HandlerFunc{
		"never lost":       {taken},
		"changed since":    {lose, taken, created, history("changed")},
		"another document": {lose, taken, answer(200, "application/json", map[string]any{"name": "a", "revision": 1}), history("created")},
	} {
		if made, err := serve(t, answers...).Create(soon(t), "a", document); !Is(err, "name_in_use") {
			t.Errorf("%s: found %v, %v", name, made, err)
		}
	}
}

func TestCreateThatNobodyAnswersIsUnconfirmed(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	_, err := serve(t, lose).Create(ctx, "a", document)
	var unconfirmed *Unconfirmed
	if !errors.As(err, &unconfirmed) {
		t.Fatalf("found %v", err)
	}
	client, err := New("http://127.0.0.1:1", "", "", "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := client.Create(ctx, "a", document); err == nil || errors.As(err, &unconfirmed) {
		t.Fatalf("found %v: nothing can have been created where nobody listens", err)
	}
}

func TestLostAnswerToChangeIsFoundAgain(t *testing.T) {
	stale := refuse(412, "revision_mismatch")
	if _, err := serve(t, lose, stale, created).Change(soon(t), "a", document, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := serve(t, stale).Change(soon(t), "a", document, 1); !Is(err, "revision_mismatch") {
		t.Fatalf("found %v", err)
	}
}

func TestStrangerIsNotWaitedFor(t *testing.T) {
	began := time.Now()
	for _, stranger := range []http.HandlerFunc{answer(404, "text/html", "x"), answer(200, "text/html", "x"), answer(302, "text/html", "x")} {
		_, err := serve(t, stranger).Pipeline(soon(t), "a")
		if err == nil || !strings.Contains(err.Error(), "expected the API of fnbridge") {
			t.Errorf("found %v", err)
		}
	}
	if waited := time.Since(began); waited > 5*time.Second {
		t.Errorf("waited %s", waited)
	}
}

func TestInterruptIsSaidAndEndsEachWait(t *testing.T) {
	ctx, interrupt := context.WithCancel(context.Background())
	arrived := func(_ http.ResponseWriter, r *http.Request) {
		// A server notices that its client has gone once it has read the body.
		_, _ = io.Copy(io.Discard, r.Body)
		interrupt()
		<-r.Context().Done()
	}
	const says = "Terraform was interrupted before an answer came"
	_, err := serve(t, arrived).Create(ctx, "a", document)
	var unconfirmed *Unconfirmed
	if !errors.As(err, &unconfirmed) || !strings.Contains(err.Error(), says) {
		t.Fatalf("found %v", err)
	}
	ctx, interrupt = context.WithCancel(context.Background())
	err = serve(t, created, arrived).Delete(ctx, "a", false)
	var inFlight *InFlight
	if !errors.As(err, &inFlight) || !inFlight.Interrupted {
		t.Fatalf("found %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	interrupt = func() {}
	if _, err := serve(t, arrived).Pipeline(ctx, "a"); err == nil || !strings.Contains(err.Error(), "no answer came in time") {
		t.Fatalf("found %v", err)
	}
}

func TestDestroyWaitsForWhatIsOnTheWire(t *testing.T) {
	holding := func(doing string, records int) http.HandlerFunc {
		held := map[string]any{"doing": doing, "in_flight": records}
		return answer(200, "application/json", map[string]any{"tasks": []any{map[string]any{"holds": []any{held}}}})
	}
	gone := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	if err := serve(t, created, holding("running", 0), holding("paused", 3), holding("paused", 0), gone).Delete(soon(t), "a", true); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := serve(t, created, holding("paused", 3)).Delete(ctx, "a", false)
	var inFlight *InFlight
	if !errors.As(err, &inFlight) || inFlight.Records != 3 {
		t.Fatalf("found %v", err)
	}
	if err := serve(t, refuse(404, "not_found")).Delete(soon(t), "a", false); err != nil {
		t.Fatal(err)
	}
	// What refuses before the pause has changed nothing, and what refuses after it has.
	for at, before := range [][]http.HandlerFunc{{}, {created}, {created, holding("paused", 0)}} {
		err := serve(t, append(before, refuse(403, "forbidden"))...).Delete(soon(t), "a", false)
		var paused *Paused
		if errors.As(err, &paused) != (at > 0) || !Is(err, "forbidden") {
			t.Fatalf("%d: found %v", at, err)
		}
	}
}

func TestPagesAreReadToTheLast(t *testing.T) {
	page := func(next string, items ...any) http.HandlerFunc {
		body := map[string]any{"workers": items}
		if next != "" {
			body["next"] = next
		}
		return answer(200, "application/json", body)
	}
	last := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("after") != "b" {
			t.Errorf("asked for %s", r.URL)
		}
		page("", "c")(w, r)
	}
	found, err := serve(t, page("b", "a", "b"), last).All(soon(t), "/v1/workers", "workers", nil)
	if err != nil || len(found) != 3 {
		t.Fatal(found, err)
	}
}

func TestSettingsThatCanNotBeAreRefused(t *testing.T) {
	for _, url := range []string{"", "fnbridge:8470", "ftp://a", "http://"} {
		if _, err := New(url, "", "", ""); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
	if _, err := New("http://a", "", "client_test.go", ""); err == nil {
		t.Error("a file without certificates was taken")
	}
}
