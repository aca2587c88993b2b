package contract

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// Empty are the objects in a value that have fields and state none. Terraform leaves out of an object what has no place in it and says
// nothing, so that a misspelt field looks like this.
func (f *Field) Empty(value tftypes.Value, at string) []Problem {
	if value.IsNull() || !value.IsKnown() {
		return nil
	}
	var found []Problem
	switch f.Kind {
	case Object:
		values := valuesOf(value)
		stated := func(child *Field) bool { return !values[child.Name].IsNull() }
		if len(f.Fields) > 0 && !slices.ContainsFunc(f.Fields, stated) {
			return []Problem{{at, fmt.Sprintf("found nothing that is a field of it. If one is misspelt, Terraform has left it out; expected one of %s, or no %s at all",
				strings.Join(f.names(), ", "), f.Name)}}
		}
		for _, child := range f.Fields {
			found = append(found, child.Empty(values[child.Name], join(at, child.Name))...)
		}
	case List:
		for n, item := range itemsOf(value) {
			found = append(found, f.Item.Empty(item, fmt.Sprintf("%s[%d]", at, n))...)
		}
	case Map:
		for key, item := range valuesOf(value) {
			found = append(found, f.Item.Empty(item, at+"."+key)...)
		}
	}
	return found
}

func (f *Field) names() []string {
	names := make([]string, len(f.Fields))
	for at, child := range f.Fields {
		names[at] = child.Name
	}
	return names
}
