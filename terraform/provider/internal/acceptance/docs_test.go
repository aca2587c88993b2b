package acceptance

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fnbridge.dev/terraform-provider-fnbridge/internal/stage"
)

// docs/ is what tfplugindocs makes of the schema and of examples/. FNBRIDGE_WRITE_DOCS=1 writes it anew.
func TestDocsAreCurrent(t *testing.T) {
	provider := filepath.Join(stage.Repository(), "terraform", "provider")
	terraform := begun(t, worker.URL, "")
	schemas := object{}
	if err := json.Unmarshal([]byte(terraform.Run(t, "providers", "schema", "-json")), &schemas); err != nil {
		t.Fatal(err)
	}
	// The generator looks for it under one name only, wherever it came from.
	for _, schema := range schemas["provider_schemas"].(object) {
		schemas["provider_schemas"] = object{"registry.terraform.io/hashicorp/fnbridge": schema}
	}
	encoded, err := json.Marshal(schemas)
	if err != nil {
		t.Fatal(err)
	}
	terraform.Write(t, "schema.json", string(encoded))
	made := "docs-made-by-a-test"
	t.Cleanup(func() { os.RemoveAll(filepath.Join(provider, made)) })
	generate := exec.Command("go", "tool", "tfplugindocs", "generate", "--provider-name", "fnbridge", "--providers-schema",
		filepath.Join(terraform.Folder, "schema.json"), "--rendered-website-dir", made)
	generate.Dir = provider
	if output, err := generate.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	expected, found := pages(t, filepath.Join(provider, made)), pages(t, filepath.Join(provider, "docs"))
	if os.Getenv("FNBRIDGE_WRITE_DOCS") != "" {
		for page, content := range expected {
			file := filepath.Join(provider, "docs", page)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	if len(expected) < 6 {
		t.Fatalf("made %d pages", len(expected))
	}
	for page := range found {
		if _, ok := expected[page]; !ok {
			t.Errorf("docs/%s is of nothing", page)
		}
	}
	for page, content := range expected {
		if found[page] != content {
			t.Errorf("docs/%s is not current: FNBRIDGE_WRITE_DOCS=1 ./run tests terraform Docs, and commit what it writes", page)
		}
	}
}

func pages(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"*.md", "*/*.md"} {
		files, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name, _ := filepath.Rel(folder, file)
			found[name] = string(content)
		}
	}
	return found
}

// Each example that the docs show is applied as it stands, and leaves nothing to do.
func TestExamplesOfTheDocsApply(t *testing.T) {
	worker.Ask(t, http.MethodPut, "/v1/pipelines/orders", object{
		"name": "orders", "source": object{"topics": []any{"t"}}, "sinks": []any{object{"stdout": object{}}}, "state": "paused",
	})
	examples, err := filepath.Glob(filepath.Join(stage.Repository(), "terraform", "provider", "examples", "*", "*", "*.tf"))
	if err != nil || len(examples) < 5 {
		t.Fatalf("found %v, %v", examples, err)
	}
	block, err := os.ReadFile(filepath.Join(stage.Repository(), "terraform", "provider", "examples", "provider", "provider.tf"))
	if err != nil {
		t.Fatal(err)
	}
	terraform := stage.NewTerraform(t, mirrored, "FNBRIDGE_TOKEN="+stage.Token, "TF_VAR_api_key=x", "TF_VAR_webhook_key="+stage.Texts[0])
	terraform.Write(t, "provider.tf", strings.ReplaceAll(string(block), "https://fnbridge.example.com:8470", worker.URL))
	for at, example := range examples {
		content, err := os.ReadFile(example)
		if err != nil {
			t.Fatal(err)
		}
		terraform.Write(t, strings.Repeat("x", at+1)+".tf", string(content))
	}
	terraform.Run(t, "init", "-input=false")
	said := terraform.Run(t, "apply", "-input=false", "-auto-approve")
	if !strings.Contains(stage.Joined(said), "orders: ") {
		t.Errorf("the check says nothing of a pipeline that is paused: %s", said)
	}
	terraform.Empty(t)
	terraform.Run(t, "destroy", "-input=false", "-auto-approve")
}
