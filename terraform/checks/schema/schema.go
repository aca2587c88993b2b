// Package schema has a provider's schema in the JSON that `terraform providers schema -json` prints, as far as stubs need it.
package schema

import (
	"encoding/json"
	"fmt"
	"os"
)

// Document is a file of schemas, by the providers' addresses.
type Document struct {
	FormatVersion string              `json:"format_version"`
	Providers     map[string]Provider `json:"provider_schemas"`
}

// Provider is what one provider has.
type Provider struct {
	Provider    *Entry           `json:"provider,omitempty"`
	Resources   map[string]Entry `json:"resource_schemas,omitempty"`
	DataSources map[string]Entry `json:"data_source_schemas,omitempty"`
}

// Entry is the schema of a resource, a data source or the provider itself.
type Entry struct {
	Version int64 `json:"version"`
	Block   Block `json:"block"`
}

// Block is what stands between braces.
type Block struct {
	Attributes map[string]Attribute   `json:"attributes,omitempty"`
	Blocks     map[string]NestedBlock `json:"block_types,omitempty"`
}

// Attribute has a type in cty's JSON, such as "string" or ["map","string"].
type Attribute struct {
	Type      json.RawMessage `json:"type"`
	Required  bool            `json:"required,omitempty"`
	Optional  bool            `json:"optional,omitempty"`
	Computed  bool            `json:"computed,omitempty"`
	Sensitive bool            `json:"sensitive,omitempty"`
	WriteOnly bool            `json:"write_only,omitempty"`
}

// NestedBlock nests as `single`, `list` or `set`. MaxItems 0 is no bound.
type NestedBlock struct {
	Nesting  string `json:"nesting_mode"`
	Block    Block  `json:"block"`
	MinItems int64  `json:"min_items,omitempty"`
	MaxItems int64  `json:"max_items,omitempty"`
}

// Read reads a document.
func Read(file string) (Document, error) {
	var document Document
	text, err := os.ReadFile(file)
	if err != nil {
		return document, err
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return document, fmt.Errorf("%s: %w", file, err)
	}
	return document, nil
}

// Only is the single provider of a document.
func (d Document) Only() (Provider, error) {
	if len(d.Providers) != 1 {
		return Provider{}, fmt.Errorf("found %d providers, expected one", len(d.Providers))
	}
	for _, provider := range d.Providers {
		return provider, nil
	}
	panic("a map of one has one")
}
