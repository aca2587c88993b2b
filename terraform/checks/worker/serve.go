package worker

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// patience is how long a worker may take to be ready, to be heard of, and to end.
const patience = 30 * time.Second

// running is a pod's worker.
type running struct {
	*pod
	process *exec.Cmd
	log     bytes.Buffer
	ended   chan error
}

// serve runs pods as workers of one fleet until each is ready and knows all, asks them what KEDA and a person would, and has them end.
func serve(fnbridge string, pods []*pod, triggers []any) error {
	var fleet []*running
	for _, pod := range pods {
		worker, err := pod.run(fnbridge)
		if err != nil {
			return err
		}
		defer worker.kill()
		fleet = append(fleet, worker)
		if err := worker.becomesReady(); err != nil {
			return err
		}
	}
	for _, worker := range fleet {
		if err := worker.knows(pods, triggers); err != nil {
			return fmt.Errorf("%s: %w\n%s", worker.name, err, worker.log.String())
		}
	}
	for _, worker := range fleet {
		if err := worker.end(); err != nil {
			return err
		}
	}
	return nil
}

func (p *pod) run(fnbridge string) (*running, error) {
	worker := &running{pod: p, process: exec.Command(fnbridge, p.arguments...), ended: make(chan error, 1)}
	worker.process.Env, worker.process.Stdout, worker.process.Stderr = p.variables(), &worker.log, &worker.log
	if err := worker.process.Start(); err != nil {
		return nil, err
	}
	go func() { worker.ended <- worker.process.Wait() }()
	return worker, nil
}

// kill does nothing to one that has ended.
func (r *running) kill() { _ = r.process.Process.Kill() }

func (r *running) becomesReady() error {
	return r.within("not ready", func() error {
		select {
		case err := <-r.ended:
			return fmt.Errorf("it ended: %v", err)
		default:
		}
		_, err := r.ask("/readyz")
		return err
	})
}

// within tries until there is no error, or patience is over.
func (r *running) within(what string, try func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			r.kill()
			return fmt.Errorf("fnbridge %s: %s: %w\n%s", strings.Join(r.arguments, " "), what, err, r.log.String())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// knows all workers, what a scaler asks, and the index of dead letters, whichever of them leads.
func (r *running) knows(pods []*pod, triggers []any) error {
	for _, pod := range pods {
		err := r.within("no worker "+pod.name, func() error {
			workers, err := r.ask("/v1/workers")
			if err == nil && !strings.Contains(workers, `"`+pod.name+`"`) {
				err = fmt.Errorf("found %s", workers)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, trigger := range triggers {
		if err := r.answers(trigger); err != nil {
			return err
		}
	}
	return r.within("no dead letters", func() error {
		_, err := r.ask("/v1/dead-letters:groups")
		return err
	})
}

// end asks it as Kubernetes does.
func (r *running) end() error {
	if err := r.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-r.ended:
		if err != nil {
			return fmt.Errorf("on SIGTERM %s ended with %w\n%s", r.name, err, r.log.String())
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("on SIGTERM %s did not end in %s\n%s", r.name, patience, r.log.String())
	}
}

// answers asks what a trigger of KEDA's metrics-api scaler asks: a number, by its name in a JSON object.
func (p *pod) answers(trigger any) error {
	address, err := url.Parse(text(trigger, "metadata", "url"))
	if err != nil {
		return err
	}
	name := text(trigger, "metadata", "valueLocation")
	answer, err := p.ask(address.RequestURI())
	if err != nil {
		return fmt.Errorf("the scaler asks %s: %w %s", address.Path, err, answer)
	}
	var values map[string]any
	if err := json.Unmarshal([]byte(answer), &values); err != nil {
		return fmt.Errorf("the scaler asks %s: %w in %s", address.Path, err, answer)
	}
	if _, isNumber := values[name].(float64); !isNumber {
		return fmt.Errorf("the scaler asks %s for %s, expected a number, found %v in %s", address.Path, name, values[name], answer)
	}
	return nil
}

// ask asks the worker, with the first token; where it serves TLS, by a certificate that the fleet's own CA signed.
func (p *pod) ask(path string) (string, error) {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.certificates.pool}, DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, fmt.Sprintf("%s://localhost:%d%s", p.scheme, p.port, path), nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", response.Status)
	}
	return string(body), err
}
