package acceptance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"fnbridge.dev/terraform-provider-fnbridge/internal/stage"
)

// A state that a version wrote which knew fewer attributes, and some that are gone, is read as it is: the plan is empty.
func TestStateOfAnEarlierVersionIsUpgraded(t *testing.T) {
	terraform := stage.NewTerraform(t, mirrored, "FNBRIDGE_URL="+worker.URL, "FNBRIDGE_TOKEN="+stage.Token)
	terraform.Write(t, "main.tf", `
terraform {
  required_providers {
    fnbridge = { source = "fnbridge/fnbridge" }
  }
}
resource "fnbridge_secret" "it" {
  name     = "upgraded"
  value_wo = "x"
}
`+pipeline("upgraded", `function = { url = "http://127.0.0.1:9/", timeout = "10s" }`))
	terraform.Run(t, "init", "-input=false")
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
