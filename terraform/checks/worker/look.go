package worker

import "fnbridge.dev/terraform/checks/objects"

// find is the first object of a kind.
func find(all []objects.Object, kind string) (map[string]any, bool) {
	for _, object := range all {
		if object.Kind() == kind {
			return object.Value, true
		}
	}
	return nil, false
}

// named is the object of a kind and name; nil where there is none.
func named(all []objects.Object, kind, name string) map[string]any {
	for _, object := range all {
		if object.Kind() == kind && text(object.Value, "metadata", "name") == name {
			return object.Value
		}
	}
	return nil
}

// at is what stands below a value at a path of fields and places in lists; nil where it does not go on.
func at(value any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			fields, _ := value.(map[string]any)
			value = fields[step]
		case int:
			items, _ := value.([]any)
			if step >= len(items) {
				return nil
			}
			value = items[step]
		}
	}
	return value
}

func list(value any, path ...any) []any {
	items, _ := at(value, path...).([]any)
	return items
}

func text(value any, path ...any) string {
	found, _ := at(value, path...).(string)
	return found
}
