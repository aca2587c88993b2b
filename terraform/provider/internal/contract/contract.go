package contract

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"sync"
)

// PipelineSchema is what `fnbridge schema` prints; a test holds it against the binary.
//
//go:embed pipeline.json
var PipelineSchema []byte

// OpenAPI is what a worker serves at /v1/openapi.json; a test holds it against a worker.
//
//go:embed openapi.json
var OpenAPI []byte

// Pipeline is a pipeline's document.
var Pipeline = sync.OnceValue(func() *Field {
	root := Parse(PipelineSchema)
	return parse{root}.object(root)
})

// Answer is a type that the API answers with, by its name in the OpenAPI document.
func Answer(name string) *Field {
	root := openAPI()
	return parse{root}.object(node{"$ref": "#/components/schemas/" + name})
}

// Query are the parameters behind a path.
func Query(path string) []*Field {
	root := openAPI()
	operation := root["paths"].(node)[path].(node)["get"].(node)
	properties := node{}
	for _, parameter := range list(operation["parameters"]) {
		parameter := parameter.(node)
		if parameter["in"] != "query" {
			continue
		}
		schema := node{"description": parameter["description"]}
		for key, value := range parameter["schema"].(node) {
			schema[key] = value
		}
		properties[text(parameter["name"])] = schema
	}
	return parse{root}.fields(properties, nil)
}

// Version is the API's that this was made from.
func Version() string {
	return text(openAPI()["info"].(node)["version"])
}

var openAPI = sync.OnceValue(func() node { return Parse(OpenAPI) })

// Parse reads a JSON object, its numbers as they stand.
func Parse(document []byte) map[string]any {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var root node
	if err := decoder.Decode(&root); err != nil {
		panic("a document that is built in is no JSON: " + err.Error())
	}
	return root
}
