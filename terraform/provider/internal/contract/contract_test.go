package contract

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// known makes a value of the pipeline's type of JSON, in which references stand as Terraform has them.
func known(t *testing.T, document string) tftypes.Value {
	t.Helper()
	var decode func(field *Field, value any) tftypes.Value
	decode = func(field *Field, value any) tftypes.Value {
		kind := field.Type()
		switch value := value.(type) {
		case map[string]any:
			values := map[string]tftypes.Value{}
			if field.Kind == Map {
				for key, item := range value {
					values[key] = decode(field.Item, item)
				}
				return tftypes.NewValue(kind, values)
			}
			for _, child := range field.Fields {
				values[child.Name] = decode(child, value[child.Name])
			}
			return tftypes.NewValue(kind, values)
		case []any:
			values := make([]tftypes.Value, len(value))
			for at, item := range value {
				values[at] = decode(field.Item, item)
			}
			return tftypes.NewValue(kind, values)
		case json.Number:
			number, err := value.Float64()
			if err != nil {
				t.Fatal(err)
			}
			return tftypes.NewValue(kind, number)
		case string:
			if value == "unknown" {
				return tftypes.NewValue(kind, tftypes.UnknownValue)
			}
		}
		return tftypes.NewValue(kind, value)
	}
	return decode(Pipeline(), any(Parse([]byte(document))))
}

const whole = `{"name": "a", "labels": {"team": "x"}, "source": {"topics": ["t", "u"]}, "tasks": 3, "limits": {"records_per_second": 0.5},
	"batch": {"max_bytes": "1MiB"}, "responses": {"409": "drop"},
	"function": {"url": "http://f/", "headers": {"x-team": "payments", "x-key": {"secret": "k"}}, "auth": {"type": "none"}},
	"sinks": [{"kafka": {"topic": "o"}}, {"stdout": {}}]}`

func TestDocumentGoesThereAndBackUnchanged(t *testing.T) {
	var beyond []string
	document := Parse([]byte(whole))
	encoded, err := Pipeline().Encode(Pipeline().Decode(document, tftypes.Value{}, "", &beyond))
	if err != nil || len(beyond) > 0 {
		t.Fatal(err, beyond)
	}
	if !reflect.DeepEqual(encoded, any(document)) {
		t.Fatalf("found %v, expected %v", encoded, document)
	}
}

func TestWhatIsNotKnownIsNamedAndNothingElseIsLost(t *testing.T) {
	var beyond []string
	document := `{"name": "a", "newer": 1, "retry": {"max_attempts": 5, "newer": {}}, "tasks": "many", "sinks": [{"newer": 1}]}`
	value := Pipeline().Decode(Parse([]byte(document)), tftypes.Value{}, "", &beyond)
	if expected := []string{"newer", "retry.newer", "sinks[0].newer", "tasks"}; !reflect.DeepEqual(beyond, expected) {
		t.Fatalf("found %v, expected %v", beyond, expected)
	}
	encoded, err := Pipeline().Encode(value)
	expected := Parse([]byte(`{"name": "a", "retry": {"max_attempts": 5}, "sinks": [{}]}`))
	if err != nil || !reflect.DeepEqual(encoded, any(expected)) {
		t.Fatalf("found %v, %v", encoded, err)
	}
}

func TestDefaultThatNobodyStatedIsNothing(t *testing.T) {
	var beyond []string
	document := Parse([]byte(`{"ordering": "partition", "retry": {"max_attempts": 5}, "labels": {}}`))
	encode := func(before string) any {
		encoded, err := Pipeline().Encode(Pipeline().Decode(document, known(t, before), "", &beyond))
		if err != nil || len(beyond) > 0 {
			t.Fatal(err, beyond)
		}
		return encoded
	}
	if found := encode(`{"retry": {"max_attempts": 7}}`); !reflect.DeepEqual(found, any(Parse([]byte(`{"retry": {"max_attempts": 5}}`)))) {
		t.Fatalf("found %v", found)
	}
	if found := encode(`{"ordering": "key", "labels": {"a": "b"}}`); !reflect.DeepEqual(found, any(Parse([]byte(`{"ordering": "partition", "retry": {}, "labels": {}}`)))) {
		t.Fatalf("found %v", found)
	}
}

// A secret that a document holds as text has no place in the state; a header that was not written as one has.
func TestTextThatIsSecretIsLeftOut(t *testing.T) {
	var beyond []string
	document := Parse([]byte(`{"function": {"url": "u", "auth": {"token": "hunter2", "username": "u"}, "headers": {"a": "plain", "b": "hunter2"}}}`))
	before := known(t, `{"function": {"url": "u", "headers": {"b": {}}}}`)
	value := Pipeline().Decode(document, before, "", &beyond)
	if strings.Contains(value.String(), "hunter2") || !strings.Contains(value.String(), "plain") {
		t.Fatalf("found %v", value)
	}
	if read := Pipeline().ReadOnly().Decode(document["function"], tftypes.Value{}, "", &beyond); strings.Contains(read.String(), "hunter2") {
		t.Fatalf("found %v", read)
	}
}

// To a token that may only look, fnbridge shows that there is a text, and not which: nothing differs for that.
func TestTextThatIsHiddenIsWhatItWas(t *testing.T) {
	var beyond []string
	document := Parse([]byte(`{"function": {"url": "u", "auth": {"token": "(hidden 1)"}, "headers": {"a": "(hidden 2)", "b": "(hidden 1)"}}}`))
	before := known(t, `{"function": {"url": "u", "auth": {"token": {}}, "headers": {"a": {"value": "plain"}, "b": {}}}}`)
	if found := Pipeline().Decode(document, before, "", &beyond); !found.Equal(before) || len(beyond) > 0 {
		t.Fatalf("found %v, %v", found, beyond)
	}
	if found := Pipeline().Decode(document, tftypes.Value{}, "", &beyond); strings.Contains(found.String(), "hidden") {
		t.Fatalf("found %v", found)
	}
}

func TestEveryProblemIsNamedAtItsField(t *testing.T) {
	found := Pipeline().Problems(known(t, `{"name": "Bad", "ordering": "sideways", "retry": {"max_attempts": 0, "max_age": "soon"},
		"responses": {"99": "drop", "409": "shrug"}, "batch": {"max_bytes": "lots"}, "filter": "", "tasks": 0,
		"function": {"url": "u", "auth": {"token": {}, "password": {"env": "A", "value_wo": "hunter2"}}}}`), "")
	expected := map[string]string{
		"name":                   `found "Bad", expected 1 to 63 of a-z, 0-9 and -, beginning with a letter or digit`,
		"ordering":               `found "sideways", expected one of partition, key, none`,
		"retry.max_attempts":     "found 0, expected 1 to 1000",
		"retry.max_age":          `found "soon", expected a duration with its unit, such as 200ms, 30s or 15m`,
		"responses":              `found the key "99", expected an HTTP status from 100 to 599`,
		"responses.409":          `found "shrug", expected one of retry, drop, dead_letter, deliver_nothing, block`,
		"batch.max_bytes":        `found "lots", expected a number of bytes, such as 65536, 512KiB or 1MiB`,
		"filter":                 "found an empty text, expected one that says something",
		"tasks":                  "found 0, expected at least 1",
		"function.auth.token":    "found nothing, expected one of env, file, secret, value_wo",
		"function.auth.password": "found env and value_wo, expected one of env, file, secret, value_wo",
	}
	for _, problem := range found {
		if expected[problem.Field] != problem.Message {
			t.Errorf("%s: found %q, expected %q", problem.Field, problem.Message, expected[problem.Field])
		}
		delete(expected, problem.Field)
	}
	if len(expected) > 0 {
		t.Errorf("not found: %v", expected)
	}
}

// Terraform leaves a misspelt field out, and what stays is an object that states nothing.
func TestObjectThatStatesNothingIsNamed(t *testing.T) {
	found := Pipeline().Empty(known(t, `{"name": "a", "retry": {}, "batch": {"linger": "1ms"}, "labels": {}, "sinks": [{"stdout": {}}, {"kafka": {}}]}`), "")
	var fields []string
	for _, problem := range found {
		fields = append(fields, problem.Field)
	}
	if expected := []string{"retry", "sinks[1].kafka"}; !reflect.DeepEqual(fields, expected) {
		t.Fatalf("found %v, expected %v", fields, expected)
	}
	if says := "expected one of initial_backoff, max_age, max_attempts, max_backoff, or no retry at all"; !strings.Contains(found[0].Message, says) {
		t.Fatalf("found %q", found[0].Message)
	}
	if found := Pipeline().Empty(known(t, `{"name": "a", "retry": {"max_attempts": 5}}`), ""); len(found) > 0 {
		t.Fatalf("found %v", found)
	}
}

func TestWhatIsNotKnownYetIsNotJudged(t *testing.T) {
	value := known(t, `{"name": "unknown", "ordering": "unknown", "function": {"url": "unknown", "auth": {"token": {"secret": "unknown"}}}}`)
	if found := Pipeline().Problems(value, ""); len(found) > 0 {
		t.Fatalf("found %v", found)
	}
	if _, err := Pipeline().Encode(value); err == nil {
		t.Fatal("an unknown value was encoded")
	}
}

func TestProblemStandsAtItsOutermostAttribute(t *testing.T) {
	for field, attribute := range map[string]string{"sinks[0].kafka.topic": "sinks", "source.topics": "source", "name": "name", "": ""} {
		if found := (Problem{Field: field}).Attribute(); found != attribute {
			t.Errorf("%s: found %s, expected %s", field, found, attribute)
		}
	}
}
