package stage

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// Proxy stands between Terraform and a worker, and does to an exchange what a test wants.
type Proxy struct {
	URL    string
	around atomic.Pointer[Around]
}

// Around gets each request, and passes it on with `pass`, or does not.
type Around func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc)

// NewProxy starts one before a worker.
func NewProxy(t testing.TB, worker string) *Proxy {
	target, err := url.Parse(worker)
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(target)
	pass.ErrorLog = nil
	proxy := &Proxy{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = target.Host
		if around := proxy.around.Load(); around != nil {
			(*around)(w, r, pass.ServeHTTP)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	proxy.URL = server.URL
	return proxy
}

// Do has this done to each exchange from now on; nil: nothing.
func (p *Proxy) Do(around Around) {
	if around == nil {
		p.around.Store(nil)
		return
	}
	p.around.Store(&around)
}

// Lose passes the request on, and has the connection end without an answer.
func Lose(_ http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
	pass(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// Newer has each pipeline come with a field that only a newer fnbridge has.
func Newer(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
	answer := httptest.NewRecorder()
	pass(answer, r)
	pipeline := map[string]any{}
	content := answer.Body.Bytes()
	if json.Unmarshal(content, &pipeline) == nil && pipeline["source"] != nil {
		pipeline["newer_field"] = true
		content, _ = json.Marshal(pipeline)
	}
	w.Header().Set("content-type", answer.Header().Get("content-type"))
	w.WriteHeader(answer.Code)
	_, _ = w.Write(content)
}
