// The Go libraries' end: reads what fnbridge sends with each library as its users do, and says in the answer what it read.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	webhook "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func main() {
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(serve)))
}

func serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("webhook-signature") != "" {
		verify(w, r)
		return
	}
	events, err := read(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	replies := make([]event.Event, len(events))
	for i := range events {
		replies[i] = told(&events[i])
	}
	if err := reply(w, r, replies); err != nil {
		log.Print(err)
	}
}

func read(r *http.Request) ([]event.Event, error) {
	if cehttp.IsHTTPBatch(r.Header) {
		return cehttp.NewEventsFromHTTPRequest(r)
	}
	one, err := cehttp.NewEventFromHTTPRequest(r)
	if err != nil {
		return nil, err
	}
	return []event.Event{*one}, one.Validate()
}

func told(read *event.Event) event.Event {
	attributes := map[string]string{
		"specversion": read.SpecVersion(), "id": read.ID(), "source": read.Source(), "type": read.Type(),
	}
	optional := map[string]string{"subject": read.Subject(), "datacontenttype": read.DataContentType(), "dataschema": read.DataSchema()}
	if !read.Time().IsZero() {
		optional["time"] = read.Time().Format(time.RFC3339Nano)
	}
	for name, value := range optional {
		if value != "" {
			attributes[name] = value
		}
	}
	for name, value := range read.Extensions() {
		attributes[name] = fmt.Sprint(value)
	}
	reply := event.New()
	reply.SetID(read.ID())
	reply.SetSource("/counterparts/go")
	reply.SetType("counterpart.read")
	reply.SetExtension("partitionkey", "p 50%")
	if err := reply.SetData(event.ApplicationJSON, map[string]any{"attributes": attributes, "data": data(read)}); err != nil {
		log.Print(err)
	}
	return reply
}

func data(read *event.Event) any {
	if len(read.Data()) == 0 {
		return nil
	}
	var document any
	switch kind := read.DataContentType(); {
	case strings.HasSuffix(kind, "json") || kind == "":
		if err := read.DataAs(&document); err != nil {
			return err.Error()
		}
		return document
	case strings.HasSuffix(kind, "octet-stream"):
		return map[string]string{"base64": base64.StdEncoding.EncodeToString(read.Data())}
	default:
		return string(read.Data())
	}
}

func reply(w http.ResponseWriter, r *http.Request, replies []event.Event) error {
	ctx := r.Context()
	switch r.URL.Query().Get("answer") {
	case "batch":
		var body bytes.Buffer
		if err := json.NewEncoder(&body).Encode(replies); err != nil {
			return err
		}
		w.Header().Set(cehttp.ContentType, event.ApplicationCloudEventsBatchJSON)
		_, err := w.Write(body.Bytes())
		return err
	case "binary":
		ctx = binding.WithForceBinary(ctx)
	default:
		ctx = binding.WithForceStructured(ctx)
	}
	return cehttp.WriteResponseWriter(ctx, binding.ToMessage(&replies[0]), http.StatusOK, w)
}

func verify(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		var verifier *webhook.Webhook
		if verifier, err = webhook.NewWebhook(r.URL.Query().Get("secret")); err == nil {
			err = verifier.Verify(body, r.Header)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
