package contract

import (
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"sort"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// Encode makes a document's value of Terraform's: what is null is left out. The value has to be known.
func (f *Field) Encode(value tftypes.Value) (any, error) {
	if value.IsNull() {
		return nil, nil
	}
	if !value.IsKnown() {
		return nil, fmt.Errorf("%s is not known yet", f.Name)
	}
	switch f.Kind {
	case Object:
		return f.encodeObject(value)
	case Reference:
		return f.encodeReference(value)
	case List:
		var items []tftypes.Value
		if err := value.As(&items); err != nil {
			return nil, err
		}
		encoded := make([]any, len(items))
		for at, item := range items {
			var err error
			if encoded[at], err = f.Item.Encode(item); err != nil {
				return nil, err
			}
		}
		return encoded, nil
	case Map:
		items := map[string]tftypes.Value{}
		if err := value.As(&items); err != nil {
			return nil, err
		}
		encoded := make(map[string]any, len(items))
		for key, item := range items {
			var err error
			if encoded[key], err = f.Item.Encode(item); err != nil {
				return nil, err
			}
		}
		return encoded, nil
	case Flag:
		var flag bool
		err := value.As(&flag)
		return flag, err
	case Whole, Number:
		var found big.Float
		if err := value.As(&found); err != nil {
			return nil, err
		}
		return json.Number(found.Text('g', -1)), nil
	default:
		var found string
		err := value.As(&found)
		return found, err
	}
}

func (f *Field) encodeObject(value tftypes.Value) (any, error) {
	fields := map[string]tftypes.Value{}
	if err := value.As(&fields); err != nil {
		return nil, err
	}
	encoded := map[string]any{}
	for _, child := range f.Fields {
		found, err := child.Encode(fields[child.Name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", child.Name, err)
		}
		if found != nil {
			encoded[child.Name] = found
		}
	}
	return encoded, nil
}

// A reference whose value was left out, as in a plan and in the state, is an object without fields.
func (f *Field) encodeReference(value tftypes.Value) (any, error) {
	encoded, err := f.encodeObject(value)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"value", "value_wo"} {
		if found, ok := encoded.(map[string]any)[name]; ok {
			return found, nil
		}
	}
	return encoded, nil
}

// hidden is what fnbridge shows instead of a text that may be a secret, to a token that may only look: it says nothing of the text.
var hidden = regexp.MustCompile(`^\(hidden [0-9]+\)$`)

// Decode makes Terraform's value of a document's. Where nothing was stated before, the default counts as nothing. What this
// version knows no place for is named in `beyond`.
func (f *Field) Decode(document any, before tftypes.Value, at string, beyond *[]string) tftypes.Value {
	null := tftypes.NewValue(f.Type(), nil)
	stated := before.Type() != nil && !before.IsNull()
	if document == nil || (!stated && before.Type() != nil && f.Default != nil && same(document, f.Default)) {
		return null
	}
	known := func(value any) tftypes.Value { return tftypes.NewValue(f.Type(), value) }
	switch found := document.(type) {
	case map[string]any:
		switch f.Kind {
		case Object:
			return known(f.decodeObject(found, before, at, beyond))
		case Reference:
			return known(f.decodeObject(found, tftypes.Value{}, at, beyond))
		case Map:
			values, old := map[string]tftypes.Value{}, valuesOf(before)
			for key, item := range found {
				values[key] = f.Item.Decode(item, old[key], at+"."+key, beyond)
			}
			return known(values)
		}
	case []any:
		if f.Kind == List {
			values, old := make([]tftypes.Value, len(found)), itemsOf(before)
			for n, item := range found {
				var prior tftypes.Value
				if n < len(old) {
					prior = old[n]
				}
				values[n] = f.Item.Decode(item, prior, fmt.Sprintf("%s[%d]", at, n), beyond)
			}
			return known(values)
		}
	case string:
		switch f.Kind {
		case Text:
			return known(found)
		case Reference:
			isHidden := hidden.MatchString(found)
			if isHidden && stated {
				return before
			}
			literal := map[string]any{}
			if f.Child("value") != nil && !wasWriteOnly(before) && !isHidden {
				literal["value"] = found
			}
			return known(f.decodeObject(literal, tftypes.Value{}, at, beyond))
		}
	case bool:
		if f.Kind == Flag {
			return known(found)
		}
	case json.Number:
		switch {
		case f.Kind == Whole || f.Kind == Number:
			float, _, err := big.ParseFloat(found.String(), 10, 512, big.ToNearestEven)
			if err == nil {
				return known(float)
			}
		case f.Measure == "size":
			return known(found.String())
		case f.Measure == "duration" && found.String() == "0":
			return known("0ms")
		}
	}
	*beyond = append(*beyond, at)
	return null
}

func (f *Field) decodeObject(document map[string]any, before tftypes.Value, at string, beyond *[]string) map[string]tftypes.Value {
	values, old := map[string]tftypes.Value{}, valuesOf(before)
	for _, child := range f.Fields {
		prior := old[child.Name]
		if prior.Type() == nil && before.Type() != nil {
			prior = tftypes.NewValue(child.Type(), nil)
		}
		values[child.Name] = child.Decode(document[child.Name], prior, join(at, child.Name), beyond)
	}
	for name := range document {
		if f.Child(name) == nil {
			*beyond = append(*beyond, join(at, name))
		}
	}
	sort.Strings(*beyond)
	return values
}

// wasWriteOnly: the state has a reference without any value, so the value was left out.
func wasWriteOnly(before tftypes.Value) bool {
	if before.Type() == nil || before.IsNull() {
		return false
	}
	for _, value := range valuesOf(before) {
		if !value.IsNull() {
			return false
		}
	}
	return true
}

func valuesOf(value tftypes.Value) map[string]tftypes.Value {
	values := map[string]tftypes.Value{}
	if value.Type() == nil || value.IsNull() || !value.IsKnown() || value.As(&values) != nil {
		return nil
	}
	return values
}

func itemsOf(value tftypes.Value) []tftypes.Value {
	var items []tftypes.Value
	if value.Type() == nil || value.IsNull() || !value.IsKnown() || value.As(&items) != nil {
		return nil
	}
	return items
}

func same(document, other any) bool {
	if a, ok := document.(json.Number); ok {
		b, ok := other.(json.Number)
		return ok && a.String() == b.String()
	}
	return reflect.DeepEqual(document, other)
}

func join(at, name string) string {
	return strings.TrimPrefix(at+"."+name, ".")
}
