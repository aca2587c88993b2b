package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"fnbridge.dev/terraform-provider-fnbridge/internal/stage"
)

// One case: an attribute has one value, then another, and nothing else differs.
type attributeCase struct {
	resource, path string
	// Documents of Terraform's, before and after.
	before, after object
	// What a plan shows as changed, and what it does about it.
	shows  []string
	action string
}

type object = map[string]any

// Each attribute that can be stated, as the provider's schema has it, is changed alone: the plan shows exactly that, in place or by
// replacement, and once it is applied the next plan is empty.
func TestEachAttributeChangesThatAloneAndThenNothing(t *testing.T) {
	cases := allCases(t)
	terraform := stage.NewTerraform(t, mirrored, "FNBRIDGE_URL="+worker.URL, "FNBRIDGE_TOKEN="+stage.Token)
	terraform.Write(t, "main.tf.json", configOf(t, cases, func(c attributeCase) object { return c.before }))
	terraform.Run(t, "init", "-input=false")
	terraform.Run(t, "apply", "-input=false", "-auto-approve")

	terraform.Write(t, "main.tf.json", configOf(t, cases, func(c attributeCase) object { return c.after }))
	planned := map[string]stage.Change{}
	for _, change := range terraform.Plan(t) {
		planned[change.Address] = change
	}
	for at, one := range cases {
		change, ok := planned[fmt.Sprintf("%s.case-%d", one.resource, at)]
		if !ok {
			t.Errorf("%s: no plan for it", one.path)
			continue
		}
		if shows := differences(change); change.Action() != one.action || !reflect.DeepEqual(shows, one.shows) {
			t.Errorf("%s: found %s of %v, expected %s of %v", one.path, change.Action(), shows, one.action, one.shows)
		}
	}
	noWriteOnly(t, "the plan", fmt.Sprint(planned))
	terraform.Run(t, "apply", "-input=false", "plan")
	terraform.Empty(t)

	for at, one := range cases {
		if strings.HasSuffix(one.path, ".value_wo") {
			document := worker.Ask(t, http.MethodGet, fmt.Sprintf("/v1/pipelines/case-%d", at), nil)
			if encoded, _ := json.Marshal(document); !strings.Contains(string(encoded), writeOnlyTexts[1]) {
				t.Errorf("%s: the fleet has %s", one.path, encoded)
			}
		}
	}
	terraform.Run(t, "destroy", "-input=false", "-auto-approve")
	for file, content := range terraform.Left(t) {
		if !strings.HasSuffix(file, ".json") {
			noWriteOnly(t, file, content)
		}
	}
}

// writeOnlyTexts are keys that any authentication takes.
var writeOnlyTexts = [2]string{"whsec_AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD", "whsec_BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}

func noWriteOnly(t *testing.T, where, content string) {
	t.Helper()
	for _, text := range writeOnlyTexts {
		if strings.Contains(content, text) {
			t.Errorf("%s holds what is write-only", where)
		}
	}
}

func allCases(t *testing.T) []attributeCase {
	t.Helper()
	var cases []attributeCase
	for _, resource := range []string{"fnbridge_pipeline", "fnbridge_secret"} {
		for _, path := range statable(t, resource) {
			cases = append(cases, caseOf(t, resource, path, len(cases)))
		}
	}
	if len(cases) < 90 {
		t.Fatalf("found %d attributes", len(cases))
	}
	return cases
}

// ofAuth is what a path has within authentication, which functions and sinks have alike; else there is no `found`.
func ofAuth(path string) (within string, found bool) {
	_, within, found = strings.Cut(path, ".auth.")
	return within, found
}

// values are what an attribute is before and after, by its path; authentication's stand there once.
var values = map[string][2]any{
	"batch.linger": {"0ms", "5ms"}, "batch.max_bytes": {"1MiB", "2MiB"}, "batch.max_records": {100, 50},
	"concurrency.max_in_flight": {16, 8}, "dead_letter.guard.failed": {3, 4}, "dead_letter.guard.refused": {100, 101},
	"dead_letter.max_redrives": {3, 0}, "dead_letter.topic": {"letters", "other-letters"},
	"delivery": {"at_least_once", "exactly_once"}, "drain_timeout": {"40s", "41s"}, "filter": {"true", "value.amount > 0"},
	"auth.audience": {"a", "b"}, "auth.region": {"r", "q"}, "auth.scope": {"a", "b"}, "auth.service": {"lambda", "other"},
	"auth.token_url": {"http://127.0.0.1:1/", "http://127.0.0.1:2/"}, "auth.type": {"none", "aliyun_acs3"}, "function.batch_item_failures": {"from_first", "listed"},
	"function.contract": {"json", "cloudevents_batch"}, "function.event_account": {"1", "2"},
	"function.event_format": {"objects", "strings"}, "function.event_source": {"/a", "/b"}, "function.event_type": {"a", "b"},
	"function.max_response_bytes": {"8MiB", "9MiB"}, "function.timeout": {"30s", "31s"},
	"function.url": {"http://127.0.0.1:9/", "http://127.0.0.1:9/other"}, "labels.*": {"a", "b"},
	"limits.bytes_per_second": {"5MiB", "6MiB"}, "limits.in_flight_bytes": {"32MiB", "33MiB"},
	"limits.records_per_second": {500, 0.5}, "limits.weight": {1, 2}, "on_exhausted": {"dead_letter", "block"},
	"ordering": {"partition", "key"}, "placement.labels.*": {"a", "b"}, "responses.*": {"drop", "block"},
	"retry.initial_backoff": {"200ms", "201ms"}, "retry.max_age": {"1h", "2h"}, "retry.max_attempts": {5, 6},
	"retry.max_backoff": {"30s", "31s"}, "sinks[].http.timeout": {"30s", "31s"},
	"sinks[].http.url": {"http://127.0.0.1:9/", "http://127.0.0.1:9/other"}, "sinks[].kafka.cluster": {"default", "other"},
	"sinks[].kafka.topic": {"results", "other-results"}, "sinks[].name": {"a", "b"}, "source.isolation": {"read_committed", "read_uncommitted"},
	"source.key.format": {"string", "bytes"}, "source.start": {"earliest", "latest"}, "source.topic_pattern": {"a.*", "b.*"},
	"source.topics[]": {"a", "b"}, "source.value.format": {"json", "string"}, "state": {"running", "paused"}, "tasks": {1, 2},
	"source.cluster": {"default", "other"}, "delete_offsets": {false, true}, "secrets_wo_version": {1, 2},
	"timeouts.create": {"1m", "2m"}, "timeouts.read": {"1m", "2m"}, "timeouts.update": {"1m", "2m"}, "timeouts.delete": {"1m", "2m"},
	"value_wo_version": {1, 2},
}

// fixed attributes make another pipeline, or another secret.
var fixed = []string{"name", "source.cluster", "source.group"}

func caseOf(t *testing.T, resource, path string, number int) attributeCase {
	t.Helper()
	name := fmt.Sprintf("case-%d", number)
	base := func() object { return object{"name": name, "value_wo": "x"} }
	if resource == "fnbridge_pipeline" {
		base = func() object { return pipelineFor(path, name) }
	}
	pair, known := values[path]
	if within, found := ofAuth(path); found {
		pair, known = values["auth."+within]
	}
	reference := strings.TrimSuffix(path, path[strings.LastIndex(path, ".")+1:])
	switch way := path[strings.LastIndex(path, ".")+1:]; {
	case path == "name":
		pair, known = [2]any{name, name + "-other"}, true
	case path == "source.group":
		pair, known = [2]any{"group-" + name, "other-" + name}, true
	case strings.HasSuffix(path, ".auth.token_file"):
		pair, known = [2]any{worker.File("a"), worker.File("b")}, true
	case path == "sinks[].stdout":
		one := attributeCase{resource: resource, path: path, before: base(), after: base(), action: "update"}
		put(one.before, "sinks[].kafka.topic", "results")
		put(one.after, path, object{})
		one.shows = []string{"sinks[0].kafka.topic", "sinks[0].stdout"}
		return one
	case known:
	case way == "value_wo", path == "value_wo":
		return writeOnly(attributeCase{resource: resource, path: path}, base)
	case reference != "":
		pair, known = map[string][2]any{
			"env": {"FNBRIDGE_TEST_A", "FNBRIDGE_TEST_B"}, "file": {worker.File("a"), worker.File("b")},
			"secret": {"${fnbridge_secret.a.name}", "${fnbridge_secret.b.name}"}, "value": {stage.Texts[0], stage.Texts[1]},
		}[way]
	}
	if !known {
		t.Fatalf("%s.%s has no case: what is it, and what else?", resource, path)
	}
	one := attributeCase{resource: resource, path: path, before: base(), after: base(), action: "update"}
	put(one.before, path, pair[0])
	put(one.after, path, pair[1])
	one.shows = []string{strings.NewReplacer("[]", "[0]", ".*", ".100").Replace(path)}
	if slices.Contains(fixed, path) {
		one.action = "replace"
	}
	return one
}

// What is write-only is sent when its version is another, which is all that a plan can show.
func writeOnly(one attributeCase, base func() object) attributeCase {
	one.before, one.after, one.action = base(), base(), "update"
	version := "secrets_wo_version"
	if one.resource == "fnbridge_secret" {
		version = "value_wo_version"
	}
	for at, document := range []object{one.before, one.after} {
		put(document, one.path, writeOnlyTexts[at])
		put(document, version, at+1)
	}
	one.shows = []string{version}
	return one
}

// pipelineFor is a document in which the attribute may be stated. No worker has its label, so nothing runs.
func pipelineFor(path, name string) object {
	document := object{
		"name": name, "source": object{"topics": []any{"a"}}, "function": object{"url": "http://127.0.0.1:9/"},
		"placement": object{"labels": object{"nowhere": "yes"}},
	}
	function := document["function"].(object)
	called := function
	if strings.HasPrefix(path, "sinks[].http.") {
		called = object{"url": "http://127.0.0.1:9/"}
		document["sinks"] = []any{object{"http": called}}
	}
	if within, found := ofAuth(path); found {
		if auth := authFor(strings.Split(within, ".")[0]); auth != nil {
			called["auth"] = auth
		}
	}
	switch path {
	case "source.topic_pattern":
		document["source"] = object{}
	case "delivery":
		document["sinks"] = []any{object{"kafka": object{"topic": "results"}}}
	case "function.batch_item_failures":
		function["contract"] = "aws_lambda"
	case "function.event_format", "function.event_account":
		function["contract"] = "aliyun_fc"
	case "function.event_type", "function.event_source":
		function["contract"] = "cloudevents_binary"
	case "sinks[].name", "sinks[].kafka.cluster":
		document["sinks"] = []any{object{"kafka": object{"topic": "results"}}}
	}
	return document
}

// authFor is an authentication in which the field may be stated; nil: any.
func authFor(field string) object {
	a, b := object{"env": "FNBRIDGE_TEST_A"}, object{"env": "FNBRIDGE_TEST_B"}
	auth := map[string]object{
		"token": {"type": "bearer"}, "username": {"type": "basic", "password": b}, "password": {"type": "basic", "username": a},
		"keys[]": {"type": "hmac"}, "token_file": {"type": "oidc"}, "client_id": {"type": "oidc", "client_secret": b},
		"client_secret": {"type": "oidc", "client_id": a}, "scope": {"type": "oidc", "client_id": a, "client_secret": b},
		"audience": {"type": "oidc", "client_id": a, "client_secret": b}, "token_url": {"type": "oidc", "client_id": a, "client_secret": b},
		"access_key_secret": {"type": "aliyun_acs3", "access_key_id": a},
		"security_token":    {"type": "aliyun_acs3", "access_key_id": a, "access_key_secret": b},
		"access_key_id":     {"type": "aws_sigv4", "region": "r", "secret_access_key": b},
		"secret_access_key": {"type": "aws_sigv4", "region": "r", "access_key_id": a},
		"session_token":     {"type": "aws_sigv4", "region": "r", "access_key_id": a, "secret_access_key": b},
		"region":            {"type": "aws_sigv4"}, "service": {"type": "aws_sigv4", "region": "r"},
	}[field]
	if auth["type"] == "oidc" && field != "token_file" {
		auth["token_url"] = "http://127.0.0.1:1/"
	}
	return auth
}

// put states a value; a list gets one item, and a map the key 100, which `responses` takes, too.
func put(document object, path string, value any) {
	steps := strings.Split(path, ".")
	for at, step := range steps {
		last := at == len(steps)-1
		if step == "*" {
			step = "100"
		}
		if name, isList := strings.CutSuffix(step, "[]"); isList {
			items, _ := document[name].([]any)
			if items == nil {
				items = []any{object{}}
			}
			document[name] = items
			if last {
				items[0] = value
				return
			}
			document = items[0].(object)
			continue
		}
		if last {
			document[step] = value
			return
		}
		inner, _ := document[step].(object)
		if inner == nil {
			inner = object{}
		}
		document[step] = inner
		document = inner
	}
}

func configOf(t *testing.T, cases []attributeCase, of func(attributeCase) object) string {
	t.Helper()
	pipelines := object{}
	secrets := object{
		"a": object{"name": "a", "value_wo": stage.Texts[0]},
		"b": object{"name": "b", "value_wo": stage.Texts[1]},
	}
	for at, one := range cases {
		into := pipelines
		if one.resource == "fnbridge_secret" {
			into = secrets
		}
		into[fmt.Sprintf("case-%d", at)] = of(one)
	}
	config := object{
		"terraform": object{"required_providers": object{"fnbridge": object{"source": "fnbridge/fnbridge"}}},
		"resource":  object{"fnbridge_pipeline": pipelines, "fnbridge_secret": secrets},
	}
	encoded, err := json.MarshalIndent(config, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// differences are the paths at which a plan shows another value that it knows.
func differences(change stage.Change) []string {
	paths := []string{}
	differ(change.Change.Before, change.Change.After, "", &paths)
	paths = slices.DeleteFunc(paths, func(path string) bool { return path == "revision" || path == "changed" })
	sort.Strings(paths)
	return paths
}

func differ(before, after any, at string, into *[]string) {
	if a, b := leafless(before), leafless(after); a != nil || b != nil {
		names := map[string]bool{}
		for name := range a {
			names[name] = true
		}
		for name := range b {
			names[name] = true
		}
		if len(names) == 0 && (before == nil) != (after == nil) {
			*into = append(*into, at)
		}
		for name := range names {
			separator := "."
			if strings.HasPrefix(name, "[") {
				separator = ""
			}
			differ(a[name], b[name], strings.TrimPrefix(at+separator+name, "."), into)
		}
		return
	}
	if !reflect.DeepEqual(before, after) {
		*into = append(*into, at)
	}
}

func leafless(value any) object {
	switch value := value.(type) {
	case object:
		return value
	case []any:
		items := object{}
		for at, item := range value {
			items[fmt.Sprintf("[%d]", at)] = item
		}
		return items
	default:
		return nil
	}
}

// statable are the paths of all attributes of a resource that a user can state, from the schema that Terraform is told.
func statable(t *testing.T, resource string) []string {
	t.Helper()
	server, err := factories["fnbridge"]()
	if err != nil {
		t.Fatal(err)
	}
	schema, err := server.GetProviderSchema(context.Background(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	leaves(schema.ResourceSchemas[resource].Block.Attributes, "", &paths)
	sort.Strings(paths)
	return paths
}

func leaves(attributes []*tfprotov6.SchemaAttribute, at string, into *[]string) {
	for _, attribute := range attributes {
		path := strings.TrimPrefix(at+"."+attribute.Name, ".")
		if !attribute.Optional && !attribute.Required {
			continue
		}
		nested := attribute.NestedType
		suffix := ""
		switch {
		case nested != nil && nested.Nesting == tfprotov6.SchemaObjectNestingModeList, nested == nil && strings.HasPrefix(attribute.Type.String(), "tftypes.List"):
			suffix = "[]"
		case nested != nil && nested.Nesting == tfprotov6.SchemaObjectNestingModeMap, nested == nil && strings.HasPrefix(attribute.Type.String(), "tftypes.Map"):
			suffix = ".*"
		}
		if nested == nil || len(nested.Attributes) == 0 {
			*into = append(*into, path+suffix)
			continue
		}
		leaves(nested.Attributes, path+suffix, into)
	}
}
