package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"fnbridge.dev/terraform-provider-fnbridge/internal/contract"
	"fnbridge.dev/terraform-provider-fnbridge/internal/stage"
)

// What the provider is made from is what this fnbridge says of itself. FNBRIDGE_WRITE_DOCS=1 writes it anew.
func TestContractIsThatOfTheBinary(t *testing.T) {
	printed, err := exec.Command(stage.Fnbridge(), "schema").Output()
	if err != nil {
		t.Fatal(err)
	}
	served, err := json.Marshal(worker.Ask(t, http.MethodGet, "/v1/openapi.json", nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2][]byte{
		"pipeline.json": {contract.PipelineSchema, printed}, "openapi.json": {contract.OpenAPI, served},
	} {
		said := contract.Parse(pair[1])
		if reflect.DeepEqual(contract.Parse(pair[0]), said) {
			continue
		}
		if os.Getenv("FNBRIDGE_WRITE_DOCS") == "" {
			t.Errorf("%s is not what fnbridge says: FNBRIDGE_WRITE_DOCS=1 ./run tests terraform Contract, and commit what it writes", name)
			continue
		}
		var written bytes.Buffer
		encoder := json.NewEncoder(&written)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", " ")
		if err := encoder.Encode(said); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(stage.Repository(), "terraform", "provider", "internal", "contract", name)
		if err := os.WriteFile(file, written.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// beside are attributes that are Terraform's business and in no document.
var beside = []string{"delete_offsets", "secrets_wo_version", "timeouts.create", "timeouts.delete", "timeouts.read", "timeouts.update"}

// No field is forgotten, on either side: the provider's schema, as Terraform is told it, against fnbridge's, each read by code of its own.
func TestNoFieldIsForgottenOnEitherSide(t *testing.T) {
	server, err := factories["fnbridge"]()
	if err != nil {
		t.Fatal(err)
	}
	schema, err := server.GetProviderSchema(context.Background(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	printed, err := exec.Command(stage.Fnbridge(), "schema").Output()
	if err != nil {
		t.Fatal(err)
	}
	document := walker{root: contract.Parse(printed), ways: true}
	compare(t, "the pipeline's document", document.paths(document.root), without(statable(t, "fnbridge_pipeline"), beside...))

	api := walker{root: worker.Ask(t, http.MethodGet, "/v1/openapi.json", nil)}
	answer := func(name string) []string { return api.paths(object{"$ref": "#/components/schemas/" + name}) }
	told := func(source string) []string {
		var paths []string
		all(schema.DataSourceSchemas[source].Block.Attributes, "", &paths)
		return without(paths, "timeouts.read")
	}
	compare(t, "the fleet", append(under("workers[].", answer("Worker")), under("pipelines[].", answer("PipelineSummary"))...), told("fnbridge_fleet"))

	read := walker{root: document.root, ways: true, readOnly: true}
	compare(t, "a pipeline that is read", append(answer("Pipeline"), read.paths(read.root)...), told("fnbridge_pipeline"))

	letters := under("groups[].", answer("LetterGroup"))
	operation := api.root["paths"].(object)["/v1/dead-letters:groups"].(object)["get"].(object)
	for _, parameter := range operation["parameters"].([]any) {
		letters = append(letters, parameter.(object)["name"].(string))
	}
	// Groups are counted in an index, which does not hold what records have in them; and two counts are of the provider's making.
	compare(t, "dead letters", without(letters, "header", "value"), without(told("fnbridge_dead_letters"), "total", "complete"))

	// Who wrote a secret, and which pipelines refer to it, changes without it.
	secret := append(without(answer("Secret"), "changed_by", "used_by[]"), "value_wo")
	var has []string
	all(schema.ResourceSchemas["fnbridge_secret"].Block.Attributes, "", &has)
	compare(t, "a secret", secret, without(has, append(beside, "value_wo_version")...))
	compare(t, "a secret that is written", answer("SecretRequest"), []string{"value"})
}

func compare(t *testing.T, what string, fnbridge, provider []string) {
	t.Helper()
	if len(fnbridge) == 0 {
		t.Errorf("%s: found no field", what)
	}
	for _, path := range without(fnbridge, provider...) {
		t.Errorf("%s: the provider lacks %s", what, path)
	}
	for _, path := range without(provider, fnbridge...) {
		t.Errorf("%s: fnbridge has no %s", what, path)
	}
}

func without(paths []string, others ...string) []string {
	rest := []string{}
	for _, path := range paths {
		if !slices.Contains(others, path) {
			rest = append(rest, path)
		}
	}
	sort.Strings(rest)
	return slices.Compact(rest)
}

func under(prefix string, paths []string) []string {
	for at := range paths {
		paths[at] = prefix + paths[at]
	}
	return paths
}

// all are the paths of attributes, whether they are stated or told.
func all(attributes []*tfprotov6.SchemaAttribute, at string, into *[]string) {
	open := make([]*tfprotov6.SchemaAttribute, 0, len(attributes))
	for _, attribute := range attributes {
		copied := *attribute
		copied.Optional = true
		if copied.NestedType != nil && len(copied.NestedType.Attributes) > 0 {
			suffix := map[tfprotov6.SchemaObjectNestingMode]string{
				tfprotov6.SchemaObjectNestingModeList: "[]", tfprotov6.SchemaObjectNestingModeMap: ".*",
			}[copied.NestedType.Nesting]
			all(copied.NestedType.Attributes, strings.TrimPrefix(at+"."+copied.Name, ".")+suffix, into)
			continue
		}
		open = append(open, &copied)
	}
	leaves(open, at, into)
}

// walker reads JSON Schemas, and knows nothing of how the provider does.
type walker struct {
	root object
	// ways: texts that may be secret are given in one of several ways.
	ways, readOnly bool
}

// Texts that are no secret may stand in the state.
var openly = []string{"headers.*", "username", "client_id", "access_key_id"}

func (w walker) paths(schema object) []string {
	var found []string
	w.walk(schema, "", &found)
	return without(found)
}

func (w walker) walk(schema object, at string, into *[]string) {
	if schema["x-fnbridge-secret"] == true && w.ways {
		for _, way := range []string{"env", "file", "secret"} {
			*into = append(*into, at+"."+way)
		}
		if !w.readOnly {
			*into = append(*into, at+".value_wo")
		}
		for _, suffix := range openly {
			if strings.HasSuffix(at, "."+suffix) {
				*into = append(*into, at+".value")
			}
		}
		return
	}
	before := len(*into)
	if ref, ok := schema["$ref"].(string); ok {
		target := any(w.root)
		for _, step := range strings.Split(ref[2:], "/") {
			target = target.(object)[step]
		}
		w.walk(target.(object), at, into)
		return
	}
	inner := false
	for _, word := range []string{"allOf", "anyOf", "oneOf"} {
		parts, _ := schema[word].([]any)
		for _, part := range parts {
			if part := part.(object); part["type"] != "null" {
				w.walk(part, at, into)
				inner = true
			}
		}
	}
	if properties, ok := schema["properties"].(object); ok {
		for name, property := range properties {
			w.walk(property.(object), strings.TrimPrefix(at+"."+name, "."), into)
		}
		return
	}
	if items, ok := schema["items"].(object); ok {
		w.walk(items, at+"[]", into)
		return
	}
	if values, ok := schema["additionalProperties"].(object); ok {
		w.walk(values, at+".*", into)
		return
	}
	if !inner && len(*into) == before && at != "" {
		*into = append(*into, at)
	}
}
