package stage

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Token is what the workers' administrator sends.
const Token = "acceptance-tests-administrator-of-all"

// Texts are what the worker has in FNBRIDGE_TEST_A and FNBRIDGE_TEST_B, and in the files of the same names: keys that any
// authentication takes.
var Texts = [2]string{"whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB", "whsec_AgICAgICAgICAgICAgICAgICAgICAgIC"}

// Worker is a fleet of one, with a store of its own.
type Worker struct {
	URL     string
	folder  string
	process *process
}

const configuration = `listen: 127.0.0.1:%d
clusters:
  default: {bootstrap_servers: "%s", properties: {session.timeout.ms: "6000"}}
  other: {bootstrap_servers: "127.0.0.1:1"}
access: {tokens: true, secrets_key: {env: FNBRIDGE_TEST_SECRETS_KEY}}
telemetry: {log: {level: error}}
`

// NewWorker starts a worker on this cluster, and waits until it answers.
func NewWorker(bootstrap string) (*Worker, error) {
	folder, err := os.MkdirTemp("", "fnbridge-terraform-worker-")
	if err != nil {
		return nil, err
	}
	port := freePort()
	worker := &Worker{URL: fmt.Sprintf("http://127.0.0.1:%d", port), folder: folder}
	written := fmt.Sprintf(configuration, port, bootstrap)
	if err := os.WriteFile(filepath.Join(folder, "fnbridge.yaml"), []byte(written), 0o600); err != nil {
		return nil, err
	}
	for at, name := range []string{"a", "b"} {
		if err := os.WriteFile(worker.File(name), []byte(Texts[at]), 0o600); err != nil {
			return nil, err
		}
	}
	return worker, worker.Start()
}

// File is the path of a file beside the worker's configuration.
func (w *Worker) File(name string) string { return filepath.Join(w.folder, name) }

// Start starts the process, again, on the same port and store.
func (w *Worker) Start() error {
	command := exec.Command(Fnbridge(), "serve", "--config", "fnbridge.yaml")
	command.Dir = w.folder
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	command.Env = append(os.Environ(), "FNBRIDGE_ADMIN_TOKEN="+Token, "FNBRIDGE_TEST_SECRETS_KEY="+key, "FNBRIDGE_TEST_A="+Texts[0],
		"FNBRIDGE_TEST_B="+Texts[1])
	var err error
	if w.process, err = start(command, filepath.Join(w.folder, "worker.log")); err != nil {
		return err
	}
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end) && !w.process.hasEnded(); time.Sleep(50 * time.Millisecond) {
		if status, _ := w.ask(http.MethodGet, "/v1/workers", nil, nil); status == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("the worker has ended, or did not answer within 60 s: %s", w.process.said())
}

// Kill ends the process as a crash does.
func (w *Worker) Kill() { w.process.kill() }

// Remove ends the process and takes its files away.
func (w *Worker) Remove() {
	w.process.kill()
	_ = os.RemoveAll(w.folder)
}

// Ask calls the API, as somebody else than Terraform does. The answer's status is in the range that is expected, or the test fails.
func (w *Worker) Ask(t testing.TB, method, path string, body any) map[string]any {
	t.Helper()
	answer := map[string]any{}
	status, err := w.ask(method, path, body, &answer)
	if err != nil || status >= 300 {
		t.Fatalf("%s %s: status %d, %v, %v: %s", method, path, status, err, answer, w.process.said())
	}
	return answer
}

// Document is a pipeline's as it is registered, so that somebody else than Terraform can change it and send it again.
func (w *Worker) Document(t testing.TB, name string) map[string]any {
	t.Helper()
	document := w.Ask(t, http.MethodGet, "/v1/pipelines/"+name, nil)
	delete(document, "status")
	delete(document, "revision")
	return document
}

// Status is the answer's, whatever it is.
func (w *Worker) Status(t testing.TB, path string) int {
	t.Helper()
	status, err := w.ask(http.MethodGet, path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func (w *Worker) ask(method, path string, body, into any) (int, error) {
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			return 0, err
		}
	}
	request, err := http.NewRequest(method, w.URL+path, &sent)
	if err != nil {
		return 0, err
	}
	request.Header.Set("authorization", "Bearer "+Token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if into != nil && answer.StatusCode != http.StatusNoContent {
		err = json.NewDecoder(answer.Body).Decode(into)
	}
	return answer.StatusCode, err
}
