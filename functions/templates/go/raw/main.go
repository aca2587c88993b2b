package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	address := net.JoinHostPort(env("HOST", "127.0.0.1"), env("PORT", "3000"))
	log.Fatal(http.ListenAndServe(address, http.HandlerFunc(serve)))
}

// serve answers one record's bytes: 200 delivers the body, 204 leaves nothing, 422 makes the record a dead letter.
func serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The connection is gone; fnbridge calls again.
	}
	if len(body) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // Numbers go out as they came in.
	var value map[string]any
	if err := decoder.Decode(&value); err != nil || value == nil {
		http.Error(w, "expected a JSON object", http.StatusUnprocessableEntity)
		return
	}
	value["fields"] = len(value)
	if err := json.NewEncoder(w).Encode(value); err != nil {
		log.Print(err)
	}
}

func env(name, otherwise string) string {
	if value, is := os.LookupEnv(name); is {
		return value
	}
	return otherwise
}
