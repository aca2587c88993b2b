// Package kube holds Kubernetes objects against the schemas of the modules that ship their API, with kubeconform. Unknown fields are
// problems.
package kube

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/yannh/kubeconform/pkg/resource"
	"github.com/yannh/kubeconform/pkg/validator"
	"sigs.k8s.io/yaml"

	"fnbridge.dev/terraform/checks/objects"
)

// template is where kubeconform finds the schema of a kind.
const template = "{{ .ResourceKind }}-{{ .Group }}-{{ .ResourceAPIVersion }}.json"

func fileName(kind, group, version string) string {
	if group == "" {
		// kubeconform takes what stands before a slash, if there is one.
		group = version
	}
	return strings.ToLower(fmt.Sprintf("%s-%s-%s.json", kind, group, version))
}

// WriteSchemas writes the schemas of the API's own kinds, from its OpenAPI document, and those of custom resources, from their definitions.
func WriteSchemas(to, swagger string, definitions []string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if err := writeOwn(to, swagger); err != nil {
		return fmt.Errorf("%s: %w", swagger, err)
	}
	for _, file := range definitions {
		if err := writeCustom(to, file); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func writeOwn(to, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var document struct {
		Definitions map[string]map[string]any `json:"definitions"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return err
	}
	for name, definition := range document.Definitions {
		closeFields(definition)
		if name == "io.k8s.apimachinery.pkg.util.intstr.IntOrString" {
			document.Definitions[name] = map[string]any{"type": []string{"integer", "string"}}
		}
	}
	for name, definition := range document.Definitions {
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 {
			continue
		}
		kind := kinds[0].(map[string]any)
		used := map[string]any{}
		collect(definition, document.Definitions, used)
		whole := map[string]any{"$ref": "#/definitions/" + name, "definitions": used}
		used[name] = definition
		group, _ := kind["group"].(string)
		if err := write(to, kind["kind"].(string), group, kind["version"].(string), whole); err != nil {
			return err
		}
	}
	return nil
}

// collect gathers the definitions that a schema refers to.
func collect(from any, all map[string]map[string]any, used map[string]any) {
	switch from := from.(type) {
	case map[string]any:
		if ref, isRef := from["$ref"].(string); isRef {
			name := strings.TrimPrefix(ref, "#/definitions/")
			if _, known := used[name]; !known {
				used[name] = all[name]
				collect(all[name], all, used)
			}
		}
		for _, value := range from {
			collect(value, all, used)
		}
	case []any:
		for _, value := range from {
			collect(value, all, used)
		}
	}
}

func writeCustom(to, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var definition struct {
		Spec struct {
			Group    string                `json:"group"`
			Names    struct{ Kind string } `json:"names"`
			Versions []struct {
				Name   string `json:"name"`
				Schema struct {
					OpenAPI map[string]any `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &definition); err != nil {
		return err
	}
	if len(definition.Spec.Versions) == 0 {
		return fmt.Errorf("found no versions, expected a CustomResourceDefinition")
	}
	for _, version := range definition.Spec.Versions {
		closeFields(version.Schema.OpenAPI)
		if err := write(to, definition.Spec.Names.Kind, definition.Spec.Group, version.Name, version.Schema.OpenAPI); err != nil {
			return err
		}
	}
	return nil
}

// closeFields makes a field that a schema does not name a problem, wherever fields are named.
func closeFields(schema any) {
	switch schema := schema.(type) {
	case map[string]any:
		for _, value := range schema {
			closeFields(value)
		}
		properties, named := schema["properties"].(map[string]any)
		keeps, _ := schema["x-kubernetes-preserve-unknown-fields"].(bool)
		_, open := schema["additionalProperties"]
		if named && !keeps && !open && isSchema(schema, properties) {
			schema["additionalProperties"] = false
		}
	case []any:
		for _, value := range schema {
			closeFields(value)
		}
	}
}

// isSchema tells a schema from a field that is called `properties`.
func isSchema(schema, properties map[string]any) bool {
	for _, property := range properties {
		if _, isMap := property.(map[string]any); !isMap {
			return false
		}
	}
	kind, stated := schema["type"]
	return !stated || kind == "object"
}

func write(to, kind, group, version string, schema map[string]any) error {
	text, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, fileName(kind, group, version)), text, 0o644)
}

// Problems are what kubeconform finds wrong with objects, each with its address.
func Problems(schemas string, all []objects.Object) ([]string, error) {
	v, err := validator.New([]string{filepath.Join(schemas, template)}, validator.Opts{Strict: true})
	if err != nil {
		return nil, err
	}
	var problems []string
	for _, object := range all {
		text, err := yaml.Marshal(object.Value)
		if err != nil {
			return nil, err
		}
		result := v.ValidateResource(resource.Resource{Path: object.Address, Bytes: text})
		if result.Status == validator.Valid {
			continue
		}
		problem := fmt.Sprintf("%s: %v", object.Address, result.Err)
		for _, detail := range result.ValidationErrors {
			problem += fmt.Sprintf("\n    %s: %s", detail.Path, detail.Msg)
		}
		problems = append(problems, problem)
	}
	return problems, nil
}
