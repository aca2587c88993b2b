package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fnbridge.dev/terraform/checks/objects"
)

const swagger = `{"definitions": {
  "io.k8s.api.core.v1.Thing": {
    "type": "object",
    "required": ["spec"],
    "properties": {
      "apiVersion": {"type": "string"}, "kind": {"type": "string"},
      "spec": {"$ref": "#/definitions/io.k8s.api.core.v1.ThingSpec"}
    },
    "x-kubernetes-group-version-kind": [{"group": "", "kind": "Thing", "version": "v1"}]
  },
  "io.k8s.api.core.v1.ThingSpec": {
    "type": "object",
    "properties": {"port": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.util.intstr.IntOrString"}, "many": {"type": "object", "additionalProperties": {"type": "string"}}}
  },
  "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"}
}}`

const definition = `
kind: CustomResourceDefinition
spec:
  group: example.com
  names: {kind: Extra}
  versions:
    - name: v1
      schema:
        openAPIV3Schema:
          type: object
          properties:
            apiVersion: {type: string}
            kind: {type: string}
            spec:
              type: object
              properties:
                open: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {a: {type: string}}}
                properties: {type: string}
`

func problems(t *testing.T, value map[string]any) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range map[string]string{"swagger.json": swagger, "extra.yaml": definition} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kinds := filepath.Join(folder, "kinds")
	if err := WriteSchemas(kinds, filepath.Join(folder, "swagger.json"), []string{filepath.Join(folder, "extra.yaml")}); err != nil {
		t.Fatal(err)
	}
	found, err := Problems(kinds, []objects.Object{{Address: "here", Value: value}})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(found, "\n")
}

func TestAnObjectThatTheAPIWouldRefuseIsFound(t *testing.T) {
	thing := func(spec map[string]any) map[string]any {
		return map[string]any{"apiVersion": "v1", "kind": "Thing", "spec": spec}
	}
	extra := func(spec map[string]any) map[string]any {
		return map[string]any{"apiVersion": "example.com/v1", "kind": "Extra", "spec": spec}
	}
	for name, test := range map[string]struct {
		value   map[string]any
		problem string
	}{
		"a number for a port":            {thing(map[string]any{"port": 1}), ""},
		"a name for a port":              {thing(map[string]any{"port": "api"}), ""},
		"any names where all are taken":  {thing(map[string]any{"many": map[string]any{"x": "y"}}), ""},
		"a field that there is not":      {thing(map[string]any{"ports": 1}), "ports"},
		"a list for one":                 {thing(map[string]any{"many": []any{}}), "want object"},
		"what is required":               {map[string]any{"apiVersion": "v1", "kind": "Thing"}, "spec"},
		"a kind that there is not":       {map[string]any{"apiVersion": "v1", "kind": "Think"}, "could not find schema"},
		"a field called properties":      {extra(map[string]any{"properties": "x"}), ""},
		"a custom field that is open":    {extra(map[string]any{"open": map[string]any{"b": 1}}), ""},
		"a custom field that is unknown": {extra(map[string]any{"closed": 1}), "closed"},
	} {
		found := problems(t, test.value)
		if (test.problem == "") != (found == "") || !strings.Contains(found, test.problem) {
			t.Errorf("%s: expected %q, found %q", name, test.problem, found)
		}
	}
}
