package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	listener, err := net.Listen("tcp", net.JoinHostPort(env("HOST", "127.0.0.1"), env("PORT", "3000")))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("orders listens on http://%s/\n", listener.Addr())
	server := &http.Server{Handler: handler(judge), ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.Serve(listener))
}

// handler answers a batch with one verdict a record.
func handler(judge func(record) verdict) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // The connection is gone; fnbridge calls again.
		}
		records, err := batch(body)
		if err != nil {
			write(w, http.StatusBadRequest, object{"error": fmt.Sprintf("expected a batch of records as JSON: %v", err)})
			return
		}
		// A bug in the rules: fnbridge retries, then finds the record that causes it.
		defer func() {
			if bug := recover(); bug != nil {
				log.Print(bug)
				write(w, http.StatusInternalServerError, object{"error": fmt.Sprint(bug)})
			}
		}()
		verdicts := make([]verdict, len(records))
		for n, record := range records {
			verdicts[n] = judge(record)
		}
		write(w, http.StatusOK, object{"results": verdicts})
	})
}

func batch(body []byte) ([]record, error) {
	var batch struct {
		Records *[]struct {
			ID *string `json:"id"`
			record
		} `json:"records"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // Numbers go out as they came in.
	if err := decoder.Decode(&batch); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("found something behind it")
	}
	if batch.Records == nil {
		return nil, errors.New("no list of records")
	}
	records := make([]record, len(*batch.Records))
	for n, r := range *batch.Records {
		if r.ID == nil {
			return nil, errors.New("a record without an id")
		}
		r.record.ID = *r.ID
		records[n] = r.record
	}
	return records, nil
}

func write(w http.ResponseWriter, status int, document any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		status = http.StatusInternalServerError
		body.Reset()
		fmt.Fprintf(&body, `{"error":%q}`, err)
	}
	w.Header().Set("content-type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

func env(name, otherwise string) string {
	if value, is := os.LookupEnv(name); is {
		return value
	}
	return otherwise
}
