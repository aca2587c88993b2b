package contract

import (
	"fmt"
	"math/big"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// Problem is one thing that is wrong with a document.
type Problem struct {
	// Field is the path in the document, such as `sinks[0].kafka.topic`.
	Field string `json:"field"`
	// Message says what was found and what was expected.
	Message string `json:"message"`
}

// Attribute is the outermost attribute that the problem is in: Terraform shows the line of no other.
func (p Problem) Attribute() string {
	end := strings.IndexAny(p.Field, ".[")
	if end < 0 {
		return p.Field
	}
	return p.Field[:end]
}

// Problems are what can be told of a value by the schema alone. What is not known yet is not judged.
func (f *Field) Problems(value tftypes.Value, at string) []Problem {
	if value.IsNull() || !value.IsKnown() {
		return nil
	}
	switch f.Kind {
	case Object:
		return f.problemsInside(value, at)
	case Reference:
		return append(f.problemsOfReference(value, at), f.problemsInside(value, at)...)
	case List:
		items := itemsOf(value)
		var found []Problem
		if f.MaxItems > 0 && len(items) > f.MaxItems {
			found = append(found, Problem{at, fmt.Sprintf("found %d, expected at most %d", len(items), f.MaxItems)})
		}
		for n, item := range items {
			found = append(found, f.Item.Problems(item, fmt.Sprintf("%s[%d]", at, n))...)
		}
		return found
	case Map:
		var found []Problem
		for key, item := range valuesOf(value) {
			if f.Keys != nil && !f.Keys.MatchString(key) {
				found = append(found, Problem{at, fmt.Sprintf("found the key %q, expected %s", key, f.KeyForm)})
			}
			found = append(found, f.Item.Problems(item, at+"."+key)...)
		}
		return found
	case Whole, Number:
		return f.problemsOfNumber(value, at)
	case Text:
		return f.problemsOfText(value, at)
	default:
		return nil
	}
}

func (f *Field) problemsInside(value tftypes.Value, at string) []Problem {
	var found []Problem
	values := valuesOf(value)
	for _, child := range f.Fields {
		if value, ok := values[child.Name]; ok {
			found = append(found, child.Problems(value, join(at, child.Name))...)
		}
	}
	return found
}

func (f *Field) problemsOfReference(value tftypes.Value, at string) []Problem {
	var given, ways []string
	values := valuesOf(value)
	for _, way := range f.Fields {
		ways = append(ways, way.Name)
		switch value := values[way.Name]; {
		case !value.IsKnown():
			return nil
		case !value.IsNull():
			given = append(given, way.Name)
		}
	}
	if len(given) == 1 {
		return nil
	}
	found := "nothing"
	if len(given) > 1 {
		found = strings.Join(given, " and ")
	}
	return []Problem{{at, fmt.Sprintf("found %s, expected one of %s", found, strings.Join(ways, ", "))}}
}

func (f *Field) problemsOfNumber(value tftypes.Value, at string) []Problem {
	var number big.Float
	if value.As(&number) != nil {
		return nil
	}
	below := f.Minimum != nil && number.Cmp(big.NewFloat(*f.Minimum)) < 0
	above := f.Maximum != nil && number.Cmp(big.NewFloat(*f.Maximum)) > 0
	switch {
	case !below && !above:
		return nil
	case f.Maximum == nil:
		return []Problem{{at, fmt.Sprintf("found %s, expected at least %s", number.Text('g', -1), plainNumber(*f.Minimum))}}
	default:
		expected := fmt.Sprintf("expected %s to %s", plainNumber(*f.Minimum), plainNumber(*f.Maximum))
		return []Problem{{at, fmt.Sprintf("found %s, %s", number.Text('g', -1), expected)}}
	}
}

func (f *Field) problemsOfText(value tftypes.Value, at string) []Problem {
	var found string
	if value.As(&found) != nil {
		return nil
	}
	shown := fmt.Sprintf("found %q", found)
	if f.WriteOnly {
		shown = "found another value"
	}
	switch {
	case len(f.Enum) > 0 && !contains(f.Enum, found):
		return []Problem{{at, fmt.Sprintf("%s, expected one of %s", shown, strings.Join(f.Enum, ", "))}}
	case f.Pattern != nil && !f.Pattern.MatchString(found):
		return []Problem{{at, fmt.Sprintf("%s, expected %s", shown, f.Form)}}
	case utf8.RuneCountInString(found) < f.MinLength:
		return []Problem{{at, "found an empty text, expected one that says something"}}
	default:
		return nil
	}
}

func contains(words []string, word string) bool {
	for _, known := range words {
		if known == word {
			return true
		}
	}
	return false
}
