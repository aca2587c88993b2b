package acceptance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fnbridge.dev/terraform-provider-fnbridge/internal/stage"
)

// once has this done to the first request of the method and the path, and nothing to the others.
func once(proxy *stage.Proxy, method, path string, do stage.Around) {
	var first sync.Once
	proxy.Do(func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
		now := pass
		if r.Method == method && r.URL.Path == path {
			first.Do(func() { now = func(w http.ResponseWriter, r *http.Request) { do(w, r, pass) } })
		}
		now(w, r)
	})
}

// held are the addresses in the state's file, which has to be whole.
func held(t *testing.T, terraform *stage.Terraform) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(terraform.Folder, "terraform.tfstate"))
	if os.IsNotExist(err) || (err == nil && len(content) == 0) {
		return nil
	}
	var state struct {
		Resources []struct{ Type, Name string } `json:"resources"`
	}
	if err != nil || json.Unmarshal(content, &state) != nil {
		t.Fatalf("the state is broken: %v: %s", err, content)
	}
	var found []string
	for _, one := range state.Resources {
		found = append(found, one.Type+"."+one.Name)
	}
	return found
}

// Terraform is killed when the fleet has what it was sent, and no state is written: the next plan says what is there and how it is
// taken in, and that is all there is.
func TestTerraformKilledInMidCreateGoesOnByAnImport(t *testing.T) {
	proxy := stage.NewProxy(t, worker.URL)
	secret := "resource \"fnbridge_secret\" \"it\" {\n  name     = \"cut-off\"\n  value_wo = \"x\"\n}\n"
	terraform := begun(t, proxy.URL, secret)
	cutOff := func(path string) {
		arrived := make(chan struct{})
		once(proxy, http.MethodPut, path, func(_ http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
			pass(httptest.NewRecorder(), r)
			close(arrived)
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		})
		apply := terraform.Begin(t, "apply", "-input=false", "-auto-approve")
		<-arrived
		apply.Kill()
		if status, said := apply.Wait(); status != -1 {
			t.Fatalf("status %d: %s", status, said)
		}
	}

	cutOff("/v1/secrets/cut-off")
	if found := held(t, terraform); len(found) > 0 {
		t.Fatalf("the state has %v", found)
	}
	terraform.Fail(t, []string{"A secret of the name cut-off is there already", "an apply that was cut off", "`terraform import ADDRESS cut-off`"}, "plan", "-input=false")
	terraform.Run(t, "import", "-input=false", "fnbridge_secret.it", "cut-off")
	terraform.Empty(t)

	terraform.Write(t, "main.tf", required+secret+pipeline("cut-off", ""))
	cutOff("/v1/pipelines/cut-off")
	if found := fmt.Sprint(held(t, terraform)); found != "[fnbridge_secret.it]" {
		t.Fatalf("the state has %s", found)
	}
	terraform.Fail(t, []string{"A pipeline of the name cut-off is registered already, with revision 1", "an apply that was cut off",
		"`terraform import ADDRESS cut-off`"}, "plan", "-input=false")
	terraform.Run(t, "import", "-input=false", "fnbridge_pipeline.it", "cut-off")
	terraform.Empty(t)
	if found := worker.Ask(t, http.MethodGet, "/v1/pipelines/cut-off", nil)["revision"]; found != 1.0 {
		t.Fatalf("found the revision %v", found)
	}
	terraform.Run(t, "destroy", "-input=false", "-auto-approve")
	if status := worker.Status(t, "/v1/pipelines/cut-off"); status != http.StatusNotFound {
		t.Fatalf("left behind: status %d", status)
	}
}

// The worker is killed when a request of a change or of a destroy arrives, or once it is carried out, and stays away: the state is
// whole, and the same command leads on when the worker is back.
func TestWorkerKilledInMidChangeOrDestroyIsGoneOnWith(t *testing.T) {
	fleet, err := stage.NewWorker(kafka.Bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Remove)
	proxy := stage.NewProxy(t, fleet.URL)
	config := func(team string) string {
		return pipeline("killed", fmt.Sprintf("labels = { team = %q }\n  timeouts = { update = \"1s\", delete = \"1s\" }", team))
	}
	terraform := begun(t, proxy.URL, config("a"))
	const pipelinePath = "/v1/pipelines/killed"
	cutOff := func(method, path string, after bool, says string, command ...string) {
		t.Helper()
		once(proxy, method, path, func(_ http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
			if after {
				pass(httptest.NewRecorder(), r)
			}
			fleet.Kill()
			panic(http.ErrAbortHandler)
		})
		terraform.Fail(t, []string{says, "Is a worker with the role control running"}, command...)
		if found := fmt.Sprint(held(t, terraform)); found != "[fnbridge_pipeline.it]" {
			t.Fatalf("the state has %s", found)
		}
		if err := fleet.Start(); err != nil {
			t.Fatal(err)
		}
	}
	apply, destroy := []string{"apply", "-input=false", "-auto-approve"}, []string{"destroy", "-input=false", "-auto-approve"}

	terraform.Run(t, apply...)
	for at, after := range []bool{false, true} {
		team := fmt.Sprintf("changed-%d", at)
		terraform.Write(t, "main.tf", required+config(team))
		cutOff(http.MethodPut, pipelinePath, after, "killed was not changed", apply...)
		terraform.Run(t, apply...)
		terraform.Empty(t)
		found := fleet.Ask(t, http.MethodGet, pipelinePath, nil)
		if found["labels"].(object)["team"] != team || found["revision"] != float64(at+2) {
			t.Fatalf("found %v, expected the team %s and the revision %d", found, team, at+2)
		}
	}
	for _, request := range []string{http.MethodPost + " " + pipelinePath + "/pause", http.MethodDelete + " " + pipelinePath} {
		method, path, _ := strings.Cut(request, " ")
		for _, after := range []bool{false, true} {
			says := "killed was not destroyed"
			if method == http.MethodDelete {
				says = "The pipeline was paused before that"
			}
			cutOff(method, path, after, says, destroy...)
			// Who goes on by an apply has what it had, and who goes on by a destroy has nothing.
			if !after {
				terraform.Run(t, apply...)
				terraform.Empty(t)
			}
			terraform.Run(t, destroy...)
			if found := fleet.Ask(t, http.MethodGet, "/v1/pipelines", nil)["pipelines"].([]any); len(found)+len(held(t, terraform)) > 0 {
				t.Fatalf("left behind: %v, and in the state %v", found, held(t, terraform))
			}
			terraform.Run(t, apply...)
		}
	}
}

// Ctrl-C while records on the wire are waited for ends the destroy soon; it says what stands, and the next one goes on.
func TestDestroyThatIsInterruptedSaysWhatStandsAndGoesOn(t *testing.T) {
	kafka.Topics(t, "interrupted", "interrupted-results")
	function, release := slowFunction(t)
	proxy := stage.NewProxy(t, worker.URL)
	var looks atomic.Int64
	proxy.Do(func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
		if strings.HasSuffix(r.URL.Path, "/status") {
			looks.Add(1)
		}
		pass(w, r)
	})
	terraform := begun(t, proxy.URL, fmt.Sprintf(`resource "fnbridge_pipeline" "it" {
  name           = "interrupted"
  source         = { topics = ["interrupted"] }
  function       = { url = %q }
  sinks          = [{ kafka = { topic = "interrupted-results" } }]
  delete_offsets = true
}`, function))
	terraform.Run(t, "apply", "-input=false", "-auto-approve")
	kafka.Produce(t, "interrupted", "1")
	stage.Await(t, "a record on the wire", func() bool { return onTheWire(t, "interrupted") })

	destroy := terraform.Begin(t, "destroy", "-input=false", "-auto-approve")
	stage.Await(t, "what is on the wire to be known", func() bool { return looks.Load() > 1 })
	interrupted := time.Now()
	destroy.Interrupt()
	status, said := destroy.Wait()
	if took := time.Since(interrupted); status != 1 || took > 10*time.Second {
		t.Fatalf("status %d after %s: %s", status, took, said)
	}
	for _, part := range []string{
		"interrupted was not destroyed", "Terraform was interrupted while it waited for records on the wire. 1 record is still on the wire.", "The pipeline is paused and stays registered",
	} {
		if !strings.Contains(stage.Joined(said), part) {
			t.Fatalf("expected %q in: %s", part, said)
		}
	}
	if found := fmt.Sprint(held(t, terraform)); found != "[fnbridge_pipeline.it]" {
		t.Fatalf("the state has %s", found)
	}
	release()
	terraform.Run(t, "destroy", "-input=false", "-auto-approve")
	kafka.Await(t, "interrupted-results", 1)
	if status := worker.Status(t, "/v1/pipelines/interrupted"); status != http.StatusNotFound {
		t.Fatalf("left behind: status %d", status)
	}
}

// slowFunction answers nobody before it is released, at the latest when the test ends.
func slowFunction(t *testing.T) (url string, release func()) {
	held := make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	function := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-held
		_, _ = w.Write([]byte(`{"records":[{"value":"late"}]}`))
	}))
	t.Cleanup(function.Close)
	t.Cleanup(release)
	return function.URL, release
}

// onTheWire tells whether a call of the pipeline's function is under way.
func onTheWire(t *testing.T, name string) bool {
	t.Helper()
	for _, task := range worker.Ask(t, http.MethodGet, "/v1/pipelines/"+name+"/status", nil)["tasks"].([]any) {
		for _, held := range task.(object)["holds"].([]any) {
			if held.(object)["in_flight"].(float64) > 0 {
				return true
			}
		}
	}
	return false
}
