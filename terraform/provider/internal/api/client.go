// Package api is a client of fnbridge's REST API: each route that the provider needs, and what to make of answers that do not come.
package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// A worker begins its answer within 30 s, or says that it can't.
	answerWithin = 35 * time.Second
	// Nothing that is asked for is larger.
	maxAnswerBytes = 64 << 20
	firstWait      = 200 * time.Millisecond
	longestWait    = 5 * time.Second
)

// Client asks one fleet.
type Client struct {
	base  *url.URL
	token string
	agent string
	http  *http.Client
}

// New makes a client. `ca` is the path of a file with certificates to trust beside the system's; empty: none.
func New(base, token, ca, agent string) (*Client, error) {
	parsed, err := url.Parse(strings.TrimRight(base, "/"))
	if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Host == "" {
		return nil, fmt.Errorf("found the URL %q, expected one such as https://fnbridge.example.com:8470", base)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("the certificates in %s can't be read: %w", ca, err)
		}
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("found no certificate in %s, expected some in PEM", ca)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &Client{base: parsed, token: token, agent: agent, http: &http.Client{Transport: transport, Timeout: answerWithin}}, nil
}

// URL is where the fleet is asked.
func (c *Client) URL() string { return c.base.String() }

// request is one question.
type request struct {
	method string
	path   string
	query  url.Values
	header map[string]string
	body   any
}

// once asks once. The answer's body goes into `into`, unless that is nil.
func (c *Client) once(ctx context.Context, asked request, into any) error {
	var body io.Reader
	if asked.body != nil {
		encoded, err := json.Marshal(asked.body)
		if err != nil {
			return err
		}
		body = bytes.NewReader(encoded)
	}
	target := c.base.String() + asked.path
	if len(asked.query) > 0 {
		target += "?" + asked.query.Encode()
	}
	made, err := http.NewRequestWithContext(ctx, asked.method, target, body)
	if err != nil {
		return err
	}
	made.Header.Set("user-agent", c.agent)
	made.Header.Set("accept", "application/json")
	if body != nil {
		made.Header.Set("content-type", "application/json")
	}
	if c.token != "" {
		made.Header.Set("authorization", "Bearer "+c.token)
	}
	for name, value := range asked.header {
		made.Header.Set(name, value)
	}
	answer, err := c.http.Do(made)
	if err != nil {
		return c.unanswered(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes))
	if err != nil {
		return c.unanswered(err)
	}
	return c.understand(answer, content, into)
}

func (c *Client) understand(answer *http.Response, content []byte, into any) error {
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("content-type"))
	if answer.StatusCode >= 300 {
		var problem Problem
		if kind != "application/problem+json" || json.Unmarshal(content, &problem) != nil {
			return c.stranger(answer.StatusCode, kind)
		}
		return &problem
	}
	if into == nil || answer.StatusCode == http.StatusNoContent {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	if kind != "application/json" || decoder.Decode(into) != nil {
		return c.stranger(answer.StatusCode, kind)
	}
	return nil
}

// Something answered that is no fnbridge: a proxy in front of one that is away, or another service altogether.
func (c *Client) stranger(status int, kind string) error {
	if kind == "" {
		kind = "no content type"
	}
	passing := status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
	return &Away{
		URL: c.URL(), Passing: passing, Sent: true,
		Reason: fmt.Sprintf("found status %d with %s, expected the API of fnbridge under /v1", status, kind),
	}
}

func (c *Client) unanswered(err error) error {
	away := &Away{URL: c.URL(), Passing: true, Sent: true, Reason: reasonOf(err), Interrupted: errors.Is(err, context.Canceled)}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		away.Sent = false
	}
	var name *net.DNSError
	if errors.As(err, &name) {
		away.Sent, away.Passing = false, !name.IsNotFound
	}
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	if errors.As(err, &certificate) || errors.As(err, &record) {
		away.Sent, away.Passing = false, false
	}
	return away
}

func reasonOf(err error) string {
	var asked *url.Error
	if errors.As(err, &asked) {
		if asked.Timeout() {
			return "no answer came in time"
		}
		err = asked.Err
	}
	return err.Error()
}

// patiently asks until there is an answer that another try would not change, or the context ends. `lost` is told of each
// try after which nobody knows whether it was acted on.
func patiently(ctx context.Context, ask func() error, lost func()) error {
	wait := firstWait
	var before error
	for {
		err := ask()
		if err == nil || !passes(err) {
			return err
		}
		if ctx.Err() != nil && before != nil {
			return before
		}
		before = err
		if maybeActedOn(err) && lost != nil {
			lost()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
			wait = min(2*wait, longestWait)
		}
	}
}

// asked is `once`, patiently; for what can be asked any number of times.
func (c *Client) asked(ctx context.Context, asked request, into any) error {
	return patiently(ctx, func() error { return c.once(ctx, asked, into) }, nil)
}
