package acceptance

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fnbridge.dev/terraform-provider-fnbridge/internal/stage"
)

// A state as 0.1 has written it is read by every later version: nothing differs, and what is changed is changed in place. Where there is
// none, FNBRIDGE_WRITE_DOCS=1 writes it.
func TestStateOfVersion01IsReadAsItIs(t *testing.T) {
	const written = "testdata/state-0.1.json"
	config, err := os.ReadFile("testdata/state-0.1.tf")
	if err != nil {
		t.Fatal(err)
	}
	// The fleet has what the state was written of.
	now := begun(t, worker.URL, string(config))
	now.Run(t, "apply", "-input=false", "-auto-approve")
	state, err := os.ReadFile(written)
	if os.IsNotExist(err) && os.Getenv("FNBRIDGE_WRITE_DOCS") != "" {
		state, err = stateToKeep(now)
		if err == nil {
			err = os.WriteFile(written, state, 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}

	terraform := begun(t, worker.URL, string(config))
	if host := os.Getenv("TF_ACC_PROVIDER_HOST"); host != "" {
		state = []byte(strings.ReplaceAll(string(state), "registry.terraform.io", host))
	}
	terraform.Write(t, "terraform.tfstate", string(state))
	terraform.Empty(t)
	terraform.Write(t, "main.tf", required+strings.ReplaceAll(string(config), `team = "orders"`, `team = "payments"`))
	only(t, terraform.Plan(t), "fnbridge_pipeline.called", "update")
	terraform.Run(t, "apply", "-input=false", "plan")
	terraform.Empty(t)
	terraform.Run(t, "destroy", "-input=false", "-auto-approve")
	if found := worker.Status(t, "/v1/pipelines/kept-called"); found != http.StatusNotFound {
		t.Fatalf("left behind: status %d", found)
	}
}

// stateToKeep is a folder's state without what only holds for the moment: when a secret was written, and by which Terraform.
func stateToKeep(terraform *stage.Terraform) ([]byte, error) {
	written, err := os.ReadFile(filepath.Join(terraform.Folder, "terraform.tfstate"))
	if err != nil {
		return nil, err
	}
	state := object{}
	if err := json.Unmarshal(written, &state); err != nil {
		return nil, err
	}
	state["terraform_version"] = "1.11.0"
	for _, one := range state["resources"].([]any) {
		if one.(object)["type"] == "fnbridge_secret" {
			delete(one.(object)["instances"].([]any)[0].(object), "private")
		}
	}
	return json.MarshalIndent(state, "", " ")
}

// A state that a version wrote which knew fewer attributes, and some that are gone, is read as it is: the plan is empty.
func TestStateOfAnEarlierVersionIsUpgraded(t *testing.T) {
	terraform := begun(t, worker.URL, `resource "fnbridge_secret" "it" {
  name     = "upgraded"
  value_wo = "x"
}
`+pipeline("upgraded", `function = { url = "http://127.0.0.1:9/", timeout = "10s" }`))
	terraform.Run(t, "apply", "-input=false", "-auto-approve")

	file := filepath.Join(terraform.Folder, "terraform.tfstate")
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	state := object{}
	if err := json.Unmarshal(written, &state); err != nil {
		t.Fatal(err)
	}
	state["serial"] = state["serial"].(float64) + 1
	for _, one := range state["resources"].([]any) {
		instance := one.(object)["instances"].([]any)[0].(object)
		attributes := instance["attributes"].(object)
		delete(attributes, "timeouts")
		delete(attributes, "secrets_wo_version")
		delete(attributes, "limits")
		attributes["gone"] = object{"since": "long ago"}
		if function, ok := attributes["function"].(object); ok {
			delete(function, "event_format")
			delete(function, "auth")
			function["gone"] = true
		}
		delete(instance, "private")
	}
	earlier, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	terraform.Write(t, "terraform.tfstate", string(earlier))
	terraform.Empty(t)
	terraform.Run(t, "destroy", "-input=false", "-auto-approve")
}
