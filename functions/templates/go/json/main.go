package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	address := net.JoinHostPort(env("HOST", "127.0.0.1"), env("PORT", "3000"))
	log.Fatal(http.ListenAndServe(address, http.HandlerFunc(serve)))
}

// serve answers a batch with one verdict a record.
func serve(w http.ResponseWriter, r *http.Request) {
	var batch struct {
		Records []record `json:"records"`
	}
	if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
		http.Error(w, fmt.Sprintf("expected a batch of records as JSON: %v", err), http.StatusBadRequest)
		return
	}
	results := make([]verdict, len(batch.Records))
	for n, record := range batch.Records {
		results[n] = judge(record)
	}
	w.Header().Set("content-type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]any{"results": results}); err != nil {
		log.Print(err)
	}
}

func env(name, otherwise string) string {
	if value, is := os.LookupEnv(name); is {
		return value
	}
	return otherwise
}
