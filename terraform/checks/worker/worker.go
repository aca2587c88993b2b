// Package worker starts fnbridge as a pod of a plan would: with the plan's arguments, environment and files, and a PostgreSQL of its own.
package worker

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"fnbridge.dev/terraform/checks/objects"
)

const (
	files = "/etc/fnbridge"
	token = "an-admin-token-of-forty-characters-xxxxx"
	// patience is how long a worker may take to be ready, and to end.
	patience = 30 * time.Second
)

// pod is what a StatefulSet's first pod is given, with its files below a folder of this machine.
type pod struct {
	name          string
	root          string
	arguments     []string
	environment   map[string]string
	configuration string
	scheme        string
	port          int
	certificates  certificates
}

// Check holds the configurations of the first and the last pod against `fnbridge check`, then serves as the first pod until it is ready, and ends it.
func Check(all []objects.Object, fnbridge, postgres string) error {
	root, err := os.MkdirTemp("", "fnbridge-pod-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	if err := os.Chmod(root, 0o755); err != nil {
		return err
	}
	pod, err := lay(all, root)
	if err != nil {
		return err
	}
	// They differ in their ids alone.
	configurations, err := filepath.Glob(filepath.Join(filepath.Dir(pod.configuration), "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range []string{configurations[0], configurations[len(configurations)-1]} {
		check := exec.Command(fnbridge, "check", "-f", file)
		check.Env = pod.variables()
		if output, err := check.CombinedOutput(); err != nil {
			return fmt.Errorf("fnbridge check: %w\n%s", err, output)
		}
	}
	database, err := start(postgres, root, pod.certificates)
	if err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	defer database.stop()
	for name, value := range map[string]string{
		"PGHOST": "localhost", "PGPORT": fmt.Sprint(database.port), "PGDATABASE": "postgres", "PGUSER": owner, "PGPASSWORD": password,
	} {
		if _, has := pod.environment[name]; has {
			pod.environment[name] = value
		}
	}
	scaler, _ := find(all, "ScaledObject")
	return pod.serve(fnbridge, list(scaler, "spec", "triggers"))
}

// lay lays out what the pod has: files of Secrets and of the config map where they are mounted, below root.
func lay(all []objects.Object, root string) (*pod, error) {
	set, found := find(all, "StatefulSet")
	if !found {
		return nil, fmt.Errorf("found no StatefulSet")
	}
	certificates, err := issue()
	if err != nil {
		return nil, err
	}
	p := &pod{name: text(set, "metadata", "name") + "-0", root: root, environment: map[string]string{}, certificates: certificates}
	template, _ := at(set, "spec", "template", "spec").(map[string]any)
	container := at(template, "containers", 0)
	for _, variable := range list(container, "env") {
		p.environment[text(variable, "name")] = p.value(variable)
	}
	folders := map[string]string{}
	for _, mount := range list(container, "volumeMounts") {
		folders[text(mount, "name")] = filepath.Join(root, text(mount, "mountPath"))
	}
	for _, volume := range list(template, "volumes") {
		if err := p.fill(folders[text(volume, "name")], volume, all); err != nil {
			return nil, err
		}
	}
	for _, argument := range list(container, "args") {
		p.arguments = append(p.arguments, p.here(strings.ReplaceAll(argument.(string), "$(POD_NAME)", p.name)))
	}
	if len(p.arguments) == 0 {
		return nil, fmt.Errorf("found a container without args")
	}
	p.configuration = p.arguments[len(p.arguments)-1]
	// As Kubernetes itself asks.
	p.scheme = strings.ToLower(text(container, "readinessProbe", "httpGet", "scheme"))
	port, _ := at(container, "ports", 0, "containerPort").(float64)
	return p, p.listenHere(int(port))
}

// here puts paths below the pod's root.
func (p *pod) here(text string) string { return strings.ReplaceAll(text, files, p.root+files) }

// value is what a variable of the pod's environment has; those from Secrets have something that will do.
func (p *pod) value(variable any) string {
	name := text(variable, "name")
	switch {
	case at(variable, "valueFrom", "fieldRef") != nil:
		return p.name
	case at(variable, "valueFrom", "secretKeyRef") == nil:
		return p.here(text(variable, "value"))
	case name == "FNBRIDGE_SECRETS_KEY":
		return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	case name == "FNBRIDGE_ADMIN_TOKEN":
		return token
	}
	return "of-a-secret"
}

// fill writes a volume's files: those of the config map as they are, those of Secrets as certificates.
func (p *pod) fill(folder string, volume any, all []objects.Object) error {
	if folder == "" {
		return fmt.Errorf("the volume %s is mounted nowhere", text(volume, "name"))
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	contents := map[string]string{}
	if name := text(volume, "configMap", "name"); name != "" {
		data, _ := at(named(all, "ConfigMap", name), "data").(map[string]any)
		for file, content := range data {
			contents[file] = p.here(content.(string))
		}
	}
	for _, item := range list(volume, "secret", "items") {
		contents[text(item, "path")] = p.certificates.file(text(item, "path"))
	}
	if len(contents) == 0 {
		return fmt.Errorf("the volume %s has no file", text(volume, "name"))
	}
	for file, content := range contents {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// listenHere has the worker listen on a free port of this machine alone, in place of the pod's.
func (p *pod) listenHere(stated int) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	p.port = port
	files, err := filepath.Glob(filepath.Join(filepath.Dir(p.configuration), "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("found no configuration beside %s", p.configuration)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		everywhere := fmt.Sprintf(`"listen": "0.0.0.0:%d"`, stated)
		if !strings.Contains(string(content), everywhere) {
			return fmt.Errorf("%s: expected %s, found\n%s", file, everywhere, content)
		}
		changed := strings.Replace(string(content), everywhere, fmt.Sprintf(`"listen": "127.0.0.1:%d"`, port), 1)
		// What listens on a loopback address asks for tokens only where it is told to.
		changed = strings.Replace(changed, "\"access\":\n", "\"access\":\n  \"tokens\": true\n", 1)
		if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (p *pod) variables() []string {
	variables := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.root}
	for name, value := range p.environment {
		variables = append(variables, name+"="+value)
	}
	return variables
}

// serve runs the worker until it is ready and knows itself, asks it what KEDA would, and has it end as Kubernetes would.
func (p *pod) serve(fnbridge string, triggers []any) error {
	var log bytes.Buffer
	worker := exec.Command(fnbridge, p.arguments...)
	worker.Env, worker.Stdout, worker.Stderr = p.variables(), &log, &log
	if err := worker.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- worker.Wait() }()
	failed := func(err error) error {
		_ = worker.Process.Kill()
		<-ended
		return fmt.Errorf("fnbridge %s: %w\n%s", strings.Join(p.arguments, " "), err, log.String())
	}
	deadline := time.Now().Add(patience)
	for {
		answer, err := p.ask("/readyz")
		if err == nil {
			break
		}
		select {
		case err := <-ended:
			return fmt.Errorf("fnbridge %s ended: %v\n%s", strings.Join(p.arguments, " "), err, log.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return failed(fmt.Errorf("not ready: %w %s", err, answer))
		}
	}
	for {
		workers, err := p.ask("/v1/workers")
		if err == nil && strings.Contains(workers, `"`+p.name+`"`) {
			break
		}
		if time.Now().After(deadline) {
			return failed(fmt.Errorf("found no worker %s: %w %s", p.name, err, workers))
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, trigger := range triggers {
		if err := p.answers(trigger); err != nil {
			return failed(err)
		}
	}
	if err := worker.Process.Signal(syscall.SIGTERM); err != nil {
		return failed(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("on SIGTERM the worker ended with %w\n%s", err, log.String())
		}
		return nil
	case <-time.After(patience):
		return failed(fmt.Errorf("on SIGTERM the worker did not end in %s", patience))
	}
}

// answers asks what a trigger of KEDA's metrics-api scaler asks: a number, by its name in a JSON object.
func (p *pod) answers(trigger any) error {
	address, err := url.Parse(text(trigger, "metadata", "url"))
	if err != nil {
		return err
	}
	name := text(trigger, "metadata", "valueLocation")
	answer, err := p.ask(address.Path)
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

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
