package acceptance

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"fnbridge.dev/terraform-provider-fnbridge/internal/stage"
)

const secretText = "kf7-what-nobody-may-read"

// A fleet, its pipeline and its secret from the first apply to the last: terraform/examples/local as it stands.
func TestExampleLocal(t *testing.T) {
	fleet, err := stage.NewWorker(kafka.Bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Remove)
	kafka.Topics(t, "orders", "orders-enriched")
	var authorization atomic.Value
	function := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization.Store(r.Header.Get("authorization"))
		_, _ = io.WriteString(w, `{"records":[{"value":"enriched"}]}`)
	}))
	t.Cleanup(function.Close)
	proxy := stage.NewProxy(t, fleet.URL)
	terraform := example(t, proxy.URL, "local")
	terraform.Set("TF_VAR_function_url", function.URL)
	terraform.Set("TF_VAR_function_key", secretText)

	terraform.Set("TF_CLI_ARGS_apply", "-input=false -auto-approve")
	for _, command := range readme(t) {
		terraform.Run(t, strings.Fields(command)...)
	}
	kafka.Produce(t, "orders", `{"amount":7}`)
	if found := kafka.Await(t, "orders-enriched", 1); found[0] != `"enriched"` {
		t.Fatalf("found %q", found)
	}
	if found := authorization.Load(); found != "Bearer "+secretText {
		t.Fatalf("the function was sent %q", found)
	}
	terraform.Empty(t)

	t.Log("taken in by its name")
	terraform.Run(t, "state", "rm", "fnbridge_pipeline.enrich")
	terraform.Fail(t, []string{"is registered already", "terraform import"}, "plan", "-input=false")
	terraform.Run(t, "import", "-input=false", "fnbridge_pipeline.enrich", "orders-enrich")
	terraform.Empty(t)

	t.Log("changed by hand: shown, and mended")
	document := fleet.Document(t, "orders-enrich")
	document["retry"] = map[string]any{"max_attempts": 9}
	document["ordering"] = "key"
	fleet.Ask(t, http.MethodPut, "/v1/pipelines/orders-enrich", document)
	only(t, terraform.Plan(t), "fnbridge_pipeline.enrich", "update")
	document["ordering"] = "none"
	fleet.Ask(t, http.MethodPut, "/v1/pipelines/orders-enrich", document)
	terraform.Fail(t, []string{"Somebody changed it since the plan was made"}, "apply", "-input=false", "plan")
	only(t, terraform.Plan(t), "fnbridge_pipeline.enrich", "update")
	terraform.Run(t, "apply", "-input=false", "plan")
	terraform.Empty(t)
	fleet.Ask(t, http.MethodPost, "/v1/pipelines/orders-enrich/pause", nil)
	only(t, terraform.Plan(t), "fnbridge_pipeline.enrich", "update")
	terraform.Run(t, "apply", "-input=false", "plan")
	terraform.Empty(t)

	t.Log("deleted out of band: created again")
	fleet.Ask(t, http.MethodDelete, "/v1/pipelines/orders-enrich", nil)
	only(t, terraform.Plan(t), "fnbridge_pipeline.enrich", "create")

	t.Log("the worker is killed once the request is with it, in the midst of the apply")
	killed := make(chan struct{})
	var once atomic.Bool
	proxy.Do(func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
		if r.Method == http.MethodPut && once.CompareAndSwap(false, true) {
			pass(httptest.NewRecorder(), r)
			fleet.Kill()
			close(killed)
			panic(http.ErrAbortHandler)
		}
		pass(w, r)
	})
	go func() {
		<-killed
		if err := fleet.Start(); err != nil {
			t.Error(err)
		}
	}()
	terraform.Run(t, "apply", "-input=false", "plan")
	proxy.Do(nil)
	terraform.Empty(t)
	if found := fleet.Ask(t, http.MethodGet, "/v1/pipelines/orders-enrich", nil)["revision"]; found != float64(outputRevision(t, terraform)) {
		t.Fatalf("found the revision %v", found)
	}

	t.Log("the secret is rotated")
	terraform.Set("TF_VAR_function_key", secretText+"-2")
	terraform.Set("TF_VAR_function_key_version", "2")
	only(t, terraform.Plan(t), "fnbridge_secret.function_key", "update")
	noSecret(t, terraform.Run(t, "show", "-json", "plan"))
	terraform.Run(t, "apply", "-input=false", "plan")
	stage.Await(t, "the new secret", func() bool {
		kafka.Produce(t, "orders", `{"amount":8}`)
		return authorization.Load() == "Bearer "+secretText+"-2"
	})
	terraform.Empty(t)

	terraform.Run(t, "destroy", "-input=false", "-auto-approve")
	if found := fleet.Ask(t, http.MethodGet, "/v1/pipelines", nil)["pipelines"]; len(found.([]any)) != 0 {
		t.Fatalf("left behind: %v", found)
	}
	if found := fleet.Ask(t, http.MethodGet, "/v1/secrets", nil)["secrets"]; len(found.([]any)) != 0 {
		t.Fatalf("left behind: %v", found)
	}
	if found := strings.TrimSpace(terraform.Run(t, "state", "list")); found != "" {
		t.Fatalf("left in the state: %s", found)
	}
	left := terraform.Left(t)
	if len(left) < 2 {
		t.Fatalf("found %v, expected the state and its backup", left)
	}
	for file, content := range left {
		if strings.Contains(content, secretText) {
			t.Fatalf("%s holds the secret", file)
		}
	}
}

// readme are the commands in README's chapter, in their order.
func readme(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(stage.Repository(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(page), "## With Terraform\n")
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	var commands []string
	for _, line := range strings.Split(chapter, "\n") {
		if command, ok := strings.CutPrefix(line, "terraform "); ok {
			commands = append(commands, command)
		}
	}
	if !slices.Equal(commands, []string{"init", "apply"}) {
		t.Fatalf("found %v in README", commands)
	}
	return commands
}

// example copies one of terraform/examples into a working folder.
func example(t *testing.T, url, name string) *stage.Terraform {
	t.Helper()
	terraform := stage.NewTerraform(t, mirrored, "FNBRIDGE_URL="+url, "FNBRIDGE_TOKEN="+stage.Token)
	files, err := filepath.Glob(filepath.Join(stage.Repository(), "terraform", "examples", name, "*.tf"))
	if err != nil || len(files) == 0 {
		t.Fatal("found no example of the name ", name)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		terraform.Write(t, filepath.Base(file), string(content))
	}
	return terraform
}

// only: the plan does this to that one, and nothing to the others.
func only(t *testing.T, changes []stage.Change, address, action string) {
	t.Helper()
	var found []string
	for _, change := range changes {
		if action := change.Action(); action != "no-op" && action != "read" {
			found = append(found, change.Address+" "+action)
		}
	}
	if !slices.Equal(found, []string{address + " " + action}) {
		t.Fatalf("found %v, expected %s %s alone", found, address, action)
	}
}

func noSecret(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, secretText) {
		t.Fatalf("found the secret in %s", text)
	}
}

func outputRevision(t *testing.T, terraform *stage.Terraform) int {
	t.Helper()
	var pipeline struct {
		Revision int `json:"revision"`
	}
	if err := json.Unmarshal([]byte(terraform.Run(t, "output", "-json", "pipeline")), &pipeline); err != nil {
		t.Fatal(err)
	}
	return pipeline.Revision
}
