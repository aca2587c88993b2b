package schema

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// FromBindings reads a provider's schema out of the TypeScript that CDK for Terraform generated from it (an unpacked npm package
// `@cdktf/provider-*`): each block is a function that lists its arguments with their kinds, beside a class that says of each argument
// whether it is required, optional or computed. Only the resources named are read.
func FromBindings(folder string, resources []string) (Provider, error) {
	provider := Provider{Resources: map[string]Entry{}}
	for _, name := range resources {
		block, err := read(filepath.Join(folder, "lib", bindingFolder(name)), name)
		if err != nil {
			return provider, err
		}
		provider.Resources[name] = Entry{Block: block}
	}
	name, _, _ := strings.Cut(resources[0], "_")
	own, err := read(filepath.Join(folder, "lib", "provider"), name)
	provider.Provider = &Entry{Block: own}
	return provider, err
}

func read(folder, name string) (Block, error) {
	text, err := sources(folder)
	if err != nil {
		return Block{}, fmt.Errorf("%s: %w", name, err)
	}
	block, err := parse(text).resource(name)
	if err != nil {
		return Block{}, fmt.Errorf("%s: %w", name, err)
	}
	return block, nil
}

// bindingFolder is the folder of a resource: kubernetes_stateful_set_v1 is in stateful-set-v1.
func bindingFolder(resource string) string {
	_, name, _ := strings.Cut(resource, "_")
	return strings.ReplaceAll(name, "_", "-")
}

// sources are the TypeScript sources that a folder's source maps hold.
func sources(folder string) (string, error) {
	var all strings.Builder
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".js" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, encoded, found := strings.Cut(string(text), "sourceMappingURL=data:application/json;base64,")
		if !found {
			return fmt.Errorf("%s has no source map", path)
		}
		decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		var sourceMap struct {
			SourcesContent []string `json:"sourcesContent"`
		}
		if err := json.Unmarshal(decoded, &sourceMap); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, source := range sourceMap.SourcesContent {
			all.WriteString(source + "\n")
		}
		return nil
	})
	return all.String(), err
}

var (
	aFunction   = regexp.MustCompile(`(?s)\nexport function (\w+)ToHclTerraform\(.*?\n  const attrs = \{(.*?)\n  \};`)
	aResource   = regexp.MustCompile(`(?s)tfResourceType = "(\w+)".*?synthesizeHclAttributes\(\).*?const attrs = \{(.*?)\n    \};`)
	anArgument  = regexp.MustCompile(`(?s)(\w+): \{\n\s*value: ([^\n]*),\n\s*isBlock: (true|false),\n\s*type: "(\w+)",\n\s*storageClassType: "(\w+)",`)
	aClass      = regexp.MustCompile(`(?s)\nexport class (\w+)(?:OutputReference)? extends cdktf\.(?:ComplexObject|Terraform(?:Resource|Provider)) \{\n(.*?)\n\}`)
	anInterface = regexp.MustCompile(`(?s)\nexport interface (\w+) \{\n(.*?)\n\}`)
	aField      = regexp.MustCompile(`(?m)^  readonly (\w+)(\??): `)
	aTrait      = regexp.MustCompile(`(?m)^  // (\w+ - computed: .*)$`)
	aGetter     = regexp.MustCompile(`this\.get(\w+)Attribute\('`)
	aNestedCall = regexp.MustCompile(`(\w+)ToHclTerraform[,(]`)
)

// bindings are the pieces of a resource's sources.
type bindings struct {
	functions map[string]string // a block's arguments by its class
	resources map[string]string // a resource's, by its type
	traits    map[string]map[string]trait
	classOf   map[string]string // the class of a resource type
}

type trait struct {
	computed, optional, required bool
	getter                       string
}

func parse(text string) bindings {
	b := bindings{map[string]string{}, map[string]string{}, map[string]map[string]trait{}, map[string]string{}}
	for _, found := range aFunction.FindAllStringSubmatch(text, -1) {
		b.functions[strings.ToUpper(found[1][:1])+found[1][1:]] = found[2]
	}
	// A provider's blocks have no class: their interface says what is optional.
	for _, found := range anInterface.FindAllStringSubmatch(text, -1) {
		b.traits[found[1]] = map[string]trait{}
		for _, field := range aField.FindAllStringSubmatch(found[2], -1) {
			isOptional := field[2] == "?"
			b.traits[found[1]][snake(field[1])] = trait{optional: isOptional, required: !isOptional}
		}
	}
	for _, found := range aClass.FindAllStringSubmatch(text, -1) {
		class, body := strings.TrimSuffix(found[1], "OutputReference"), found[2]
		for name, t := range traits(body) {
			if b.traits[class] == nil {
				b.traits[class] = map[string]trait{}
			}
			b.traits[class][name] = t
		}
		if resource := aResource.FindStringSubmatch(body); resource != nil {
			b.resources[resource[1]] = resource[2]
			b.classOf[resource[1]] = class
		}
	}
	return b
}

// traits finds what a class says of its arguments. Each runs until the next one's line, so the text is searched piece by piece.
func traits(body string) map[string]trait {
	all := map[string]trait{}
	pieces := aTrait.FindAllStringSubmatchIndex(body, -1)
	for n, at := range pieces {
		end := len(body)
		if n+1 < len(pieces) {
			end = pieces[n+1][0]
		}
		var name string
		var t trait
		line := strings.ReplaceAll(body[at[2]:at[3]], ",", "")
		if _, err := fmt.Sscanf(line, "%s - computed: %t optional: %t required: %t", &name, &t.computed, &t.optional, &t.required); err != nil {
			continue
		}
		if getter := aGetter.FindStringSubmatch(body[at[1]:end]); getter != nil {
			t.getter = getter[1]
		}
		all[name] = t
	}
	return all
}

func (b bindings) resource(name string) (Block, error) {
	arguments, found := b.resources[name]
	if !found {
		return Block{}, fmt.Errorf("the package has no such resource")
	}
	return b.block(b.classOf[name], arguments)
}

func (b bindings) block(class, arguments string) (Block, error) {
	block := Block{Attributes: map[string]Attribute{}, Blocks: map[string]NestedBlock{}}
	traits := b.traits[class]
	for _, found := range anArgument.FindAllStringSubmatch(arguments, -1) {
		name, value, isBlock, kind, storage := found[1], found[2], found[3] == "true", found[4], found[5]
		t, known := traits[name]
		if !known {
			return block, fmt.Errorf("%s.%s: nothing says whether it is required", class, name)
		}
		if isBlock {
			nested, err := b.nested(value, kind, t)
			if err != nil {
				return block, fmt.Errorf("%s.%s: %w", class, name, err)
			}
			block.Blocks[name] = nested
			continue
		}
		block.Attributes[name] = Attribute{
			Type: typeOf(kind, storage), Required: t.required, Optional: t.optional, Computed: t.computed,
			WriteOnly: strings.HasSuffix(name, "_wo"),
		}
	}
	for name, t := range traits {
		_, isAttribute := block.Attributes[name]
		_, isBlock := block.Blocks[name]
		if isAttribute || isBlock || !t.computed {
			continue
		}
		if resultType, known := results[t.getter]; known {
			block.Attributes[name] = Attribute{Type: json.RawMessage(resultType), Computed: true}
		}
	}
	return block, nil
}

func (b bindings) nested(value, kind string, t trait) (NestedBlock, error) {
	call := aNestedCall.FindStringSubmatch(value)
	if call == nil {
		return NestedBlock{}, fmt.Errorf("found %q, expected the function of a block", value)
	}
	class := strings.ToUpper(call[1][:1]) + call[1][1:]
	arguments, found := b.functions[class]
	if !found {
		return NestedBlock{}, fmt.Errorf("there is no function of %s", class)
	}
	block, err := b.block(class, arguments)
	nested := NestedBlock{Nesting: kind, Block: block}
	if kind == "struct" {
		nested.Nesting = "single"
		return nested, err
	}
	if !strings.Contains(value, "listMapper") {
		nested.MaxItems = 1
	}
	if t.required {
		nested.MinItems = 1
	}
	return nested, err
}

// results are the types of what is only computed, by the getter; blocks among them are left out, as nothing here refers to one.
var results = map[string]string{
	"String": `"string"`, "Number": `"number"`, "Boolean": `"bool"`, "StringMap": `["map","string"]`, "List": `["list","string"]`,
}

func typeOf(kind, storage string) json.RawMessage {
	switch storage {
	case "string", "number":
		return json.RawMessage(`"` + storage + `"`)
	case "boolean":
		return json.RawMessage(`"bool"`)
	case "stringMap":
		return json.RawMessage(`["map","string"]`)
	case "stringList", "numberList":
		return json.RawMessage(fmt.Sprintf(`[%q,%q]`, kind, strings.TrimSuffix(storage, "List")))
	}
	// Any map, such as a manifest; and objects, whose shape bindings do not keep apart from a block's.
	return json.RawMessage(`"dynamic"`)
}

var anUpper = regexp.MustCompile(`[A-Z]`)

func snake(name string) string {
	return anUpper.ReplaceAllStringFunc(name, func(letter string) string { return "_" + strings.ToLower(letter) })
}
