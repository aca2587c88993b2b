// Package contract has what fnbridge says of its own documents and answers, and makes of it what Terraform wants: attributes, and
// values from one form into the other. No field is named here: what fnbridge has, the provider has.
package contract

import (
	"encoding/json"
	"regexp"
	"sort"
	"strings"
)

// Kind is the shape of a value.
type Kind int

const (
	// Text is a string; sizes and durations are, too.
	Text Kind = iota
	// Flag is true or false.
	Flag
	// Whole is a number without a fraction.
	Whole
	// Number is any number.
	Number
	// Object has fields.
	Object
	// List has items in their order.
	List
	// Map has items by text.
	Map
	// Reference is a text, or where a worker finds it: {env: NAME}, {file: PATH} or {secret: NAME}.
	Reference
)

// Field is one value of a document, with what is known of it.
type Field struct {
	Name        string
	Kind        Kind
	Description string
	Required    bool
	// Fields are an object's, or the ways to give a reference.
	Fields []*Field
	// Item is what a list or a map has.
	Item *Field
	// WriteOnly values go to fnbridge, and into no plan and no state.
	WriteOnly bool
	// Default is the value that it has where nothing is said.
	Default any
	// Measure is "size", "duration" or empty. Such a text may be a bare number in a document.
	Measure string
	Enum    []string
	// Pattern is what a text must look like, and Form says so in words.
	Pattern   *regexp.Regexp
	Form      string
	MinLength int
	Minimum   *float64
	Maximum   *float64
	MaxItems  int
	// Keys are what the keys of a map must look like, and KeyForm says so in words.
	Keys    *regexp.Regexp
	KeyForm string
}

// Child is the field of this name.
func (f *Field) Child(name string) *Field {
	for _, child := range f.Fields {
		if child.Name == name {
			return child
		}
	}
	return nil
}

// ReadOnly is the same without what can only be written: what a data source tells.
func (f *Field) ReadOnly() *Field {
	copied := *f
	copied.Fields = nil
	for _, child := range f.Fields {
		if !child.WriteOnly {
			copied.Fields = append(copied.Fields, child.ReadOnly())
		}
	}
	if f.Item != nil {
		copied.Item = f.Item.ReadOnly()
	}
	return &copied
}

// Plain are references whose text is no secret: it may stand in a plan and in the state, as `value`.
var plain = map[string]bool{"headers": true, "username": true, "client_id": true, "access_key_id": true}

type node = map[string]any

// parse reads a JSON Schema.
type parse struct{ root node }

func (p parse) object(schema node) *Field {
	return p.field("", schema)
}

func (p parse) field(name string, schema node) *Field {
	schema = p.flat(schema)
	field := &Field{Name: name, Description: text(schema["description"]), Default: schema["default"], Form: text(schema["x-fnbridge-form"])}
	field.Minimum, field.Maximum = number(schema["minimum"]), number(schema["maximum"])
	if length := number(schema["minLength"]); length != nil {
		field.MinLength = int(*length)
	}
	if items := number(schema["maxItems"]); items != nil {
		field.MaxItems = int(*items)
	}
	if pattern := text(schema["pattern"]); pattern != "" {
		field.Pattern = regexp.MustCompile(pattern)
	}
	if schema["x-fnbridge-secret"] == true {
		field.Kind, field.Fields = Reference, references(schema, plain[name])
		return field
	}
	properties, isObject := schema["properties"].(node)
	items, isList := schema["items"].(node)
	values, isMap := schema["additionalProperties"].(node)
	switch types := typesOf(schema); {
	case isObject:
		field.Kind, field.Fields = Object, p.fields(properties, schema["required"])
	case isList:
		field.Kind, field.Item = List, p.field(name, items)
		field.Item.Description = ""
	case isMap:
		field.Kind, field.Item = Map, p.field(name, values)
		field.Item.Description = ""
		if keys, ok := schema["propertyNames"].(node); ok && text(keys["pattern"]) != "" {
			field.Keys, field.KeyForm = regexp.MustCompile(text(keys["pattern"])), text(keys["x-fnbridge-form"])
		}
	case types["object"]:
		field.Kind = Object
	case types["string"]:
		field.Kind, field.Enum, field.Measure = Text, choices(schema), text(schema["x-fnbridge-kind"])
		if field.Measure != "" {
			field.Minimum, field.Maximum = nil, nil
		}
	case types["boolean"]:
		field.Kind = Flag
	case types["integer"]:
		field.Kind = Whole
	case types["number"]:
		field.Kind = Number
	}
	return field
}

func (p parse) fields(properties node, required any) []*Field {
	must := map[string]bool{}
	for _, name := range list(required) {
		must[text(name)] = true
	}
	fields := make([]*Field, 0, len(properties))
	for name, schema := range properties {
		field := p.field(name, schema.(node))
		field.Required = must[name]
		fields = append(fields, field)
	}
	sort.Slice(fields, func(a, b int) bool { return fields[a].Name < fields[b].Name })
	return fields
}

// flat resolves `$ref`, joins `allOf`, and leaves out that a value may be null: absent is null to Terraform.
func (p parse) flat(schema node) node {
	merged := node{}
	merge := func(more node) {
		for key, value := range more {
			if key == "properties" && merged[key] != nil {
				for name, property := range value.(node) {
					merged[key].(node)[name] = property
				}
				continue
			}
			if key == "properties" {
				properties := node{}
				for name, property := range value.(node) {
					properties[name] = property
				}
				value = properties
			}
			if key == "required" {
				value = append(append([]any{}, list(merged[key])...), list(value)...)
			}
			merged[key] = value
		}
	}
	if ref := text(schema["$ref"]); ref != "" {
		merge(p.flat(p.resolve(ref)))
	}
	for _, part := range list(schema["allOf"]) {
		merge(p.flat(part.(node)))
	}
	resolved := map[string]bool{"$ref": true, "allOf": true}
	for _, word := range []string{"anyOf", "oneOf"} {
		if only := withoutNull(list(schema[word])); len(only) == 1 {
			merge(p.flat(only[0].(node)))
			resolved[word] = true
		}
	}
	own := node{}
	for key, value := range schema {
		if !resolved[key] {
			own[key] = value
		}
	}
	merge(own)
	return merged
}

func (p parse) resolve(ref string) node {
	at := any(p.root)
	for _, step := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		at = at.(node)[step]
	}
	return at.(node)
}

// references are the ways in which a text can be given.
func references(schema node, plain bool) []*Field {
	described := map[string]string{}
	for _, way := range list(schema["anyOf"]) {
		properties, _ := way.(node)["properties"].(node)
		for name, property := range properties {
			described[name] = text(property.(node)["description"])
		}
	}
	ways := []*Field{
		{Name: "env", Description: described["env"], MinLength: 1},
		{Name: "file", Description: described["file"], MinLength: 1},
		{Name: "secret", Description: described["secret"], MinLength: 1},
		{
			Name: "value_wo", WriteOnly: true,
			Description: "The text itself, in no plan and in no state. Another value is sent when `secrets_wo_version` has another number.",
		},
	}
	if plain {
		ways = append(ways, &Field{Name: "value", Description: "The text itself; it stands in the state."})
	}
	sort.Slice(ways, func(a, b int) bool { return ways[a].Name < ways[b].Name })
	return ways
}

// choices are the texts that a value may be, whichever way the schema lists them.
func choices(schema node) []string {
	var found []string
	for _, value := range list(schema["enum"]) {
		if value != nil {
			found = append(found, text(value))
		}
	}
	for _, word := range []string{"oneOf", "anyOf"} {
		for _, way := range list(schema[word]) {
			choice := way.(node)
			if constant := text(choice["const"]); constant != "" {
				found = append(found, constant)
				continue
			}
			found = append(found, choices(choice)...)
		}
	}
	return found
}

func typesOf(schema node) map[string]bool {
	types := map[string]bool{}
	switch stated := schema["type"].(type) {
	case string:
		types[stated] = true
	case []any:
		for _, name := range stated {
			types[text(name)] = true
		}
	}
	for _, word := range []string{"oneOf", "anyOf"} {
		for _, way := range list(schema[word]) {
			for name := range typesOf(way.(node)) {
				types[name] = true
			}
		}
	}
	return types
}

func withoutNull(ways []any) []any {
	var rest []any
	for _, way := range ways {
		if way.(node)["type"] != "null" {
			rest = append(rest, way)
		}
	}
	return rest
}

func list(value any) []any {
	values, _ := value.([]any)
	return values
}

func text(value any) string {
	found, _ := value.(string)
	return found
}

func number(value any) *float64 {
	found, ok := value.(json.Number)
	if !ok {
		return nil
	}
	float, err := found.Float64()
	if err != nil {
		return nil
	}
	return &float
}
