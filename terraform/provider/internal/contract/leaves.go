package contract

// Leaves are the paths of all values that a user can state, such as `sinks[].kafka.topic` and `labels.*`.
func (f *Field) Leaves() []string {
	var paths []string
	f.leaves("", &paths)
	return paths
}

func (f *Field) leaves(at string, into *[]string) {
	switch {
	case f.Kind == List:
		f.Item.leaves(at+"[]", into)
	case f.Kind == Map:
		f.Item.leaves(at+".*", into)
	case len(f.Fields) > 0:
		for _, child := range f.Fields {
			child.leaves(join(at, child.Name), into)
		}
	default:
		*into = append(*into, at)
	}
}
