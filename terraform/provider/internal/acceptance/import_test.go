package acceptance

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What was registered by hand is taken in with a configuration that Terraform writes of it, and nothing differs then.
func TestImportWritesTheConfigurationToo(t *testing.T) {
	worker.Ask(t, http.MethodPut, "/v1/pipelines/by-hand", object{
		"name": "by-hand", "source": object{"topics": []any{"a"}}, "placement": object{"labels": object{"nowhere": "yes"}},
		"function": object{
			"url": "http://127.0.0.1:9/", "headers": object{"x-team": "payments"},
			"auth": object{"type": "bearer", "token": object{"env": "FNBRIDGE_TEST_A"}},
		},
		"retry": object{"max_attempts": 5}, "limits": object{"records_per_second": 0.5},
		"sinks": []any{object{"name": "results", "kafka": object{"topic": "b"}}, object{"stdout": object{}}},
	})
	terraform := begun(t, worker.URL, "import {\n  to = fnbridge_pipeline.it\n  id = \"by-hand\"\n}\n")
	terraform.Run(t, "plan", "-input=false", "-generate-config-out=generated.tf")
	written, err := os.ReadFile(filepath.Join(terraform.Folder, "generated.tf"))
	if err != nil || !strings.Contains(string(written), `"payments"`) {
		t.Fatalf("found %v, %s", err, written)
	}
	terraform.Run(t, "apply", "-input=false", "-auto-approve")
	terraform.Empty(t)
	if found := worker.Ask(t, http.MethodGet, "/v1/pipelines/by-hand", nil)["revision"]; found != 1.0 {
		t.Fatalf("found the revision %v", found)
	}
	terraform.Run(t, "destroy", "-input=false", "-auto-approve")
}
