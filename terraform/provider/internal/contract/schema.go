package contract

import (
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	data "github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	resource "github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// Attributes of a resource: what is in a document is for the user to say.
func (f *Field) Attributes() map[string]resource.Attribute {
	attributes := make(map[string]resource.Attribute, len(f.Fields))
	for _, child := range f.Fields {
		attributes[child.Name] = child.attribute()
	}
	return attributes
}

func (f *Field) attribute() resource.Attribute {
	required, optional, said := f.Required, !f.Required, f.Says()
	switch {
	case f.nests():
		return resource.SingleNestedAttribute{Attributes: f.Attributes(), Required: required, Optional: optional, MarkdownDescription: said}
	case f.Kind == List && f.Item.nests():
		nested := resource.NestedAttributeObject{Attributes: f.Item.Attributes()}
		return resource.ListNestedAttribute{NestedObject: nested, Required: required, Optional: optional, MarkdownDescription: said}
	case f.Kind == Map && f.Item.nests():
		nested := resource.NestedAttributeObject{Attributes: f.Item.Attributes()}
		return resource.MapNestedAttribute{NestedObject: nested, Required: required, Optional: optional, MarkdownDescription: said}
	case f.Kind == List:
		return resource.ListAttribute{ElementType: f.Item.element(), Required: required, Optional: optional, MarkdownDescription: said}
	case f.Kind == Map:
		return resource.MapAttribute{ElementType: f.Item.element(), Required: required, Optional: optional, MarkdownDescription: said}
	case f.Kind == Flag:
		return resource.BoolAttribute{Required: required, Optional: optional, MarkdownDescription: said}
	case f.Kind == Whole:
		return resource.Int64Attribute{Required: required, Optional: optional, MarkdownDescription: said}
	case f.Kind == Number:
		return resource.Float64Attribute{Required: required, Optional: optional, MarkdownDescription: said}
	default:
		return resource.StringAttribute{
			Required: required, Optional: optional, MarkdownDescription: said, WriteOnly: f.WriteOnly, Sensitive: f.WriteOnly,
		}
	}
}

// Computed are the attributes of a data source: what is in an answer is for fnbridge to say.
func (f *Field) Computed() map[string]data.Attribute {
	attributes := make(map[string]data.Attribute, len(f.Fields))
	for _, child := range f.Fields {
		attributes[child.Name] = child.ComputedAttribute()
	}
	return attributes
}

// ComputedAttribute is one of them.
func (f *Field) ComputedAttribute() data.Attribute {
	said := f.Description
	switch {
	case f.nests():
		return data.SingleNestedAttribute{Attributes: f.Computed(), Computed: true, MarkdownDescription: said}
	case f.Kind == List && f.Item.nests():
		nested := data.NestedAttributeObject{Attributes: f.Item.Computed()}
		return data.ListNestedAttribute{NestedObject: nested, Computed: true, MarkdownDescription: said}
	case f.Kind == Map && f.Item.nests():
		nested := data.NestedAttributeObject{Attributes: f.Item.Computed()}
		return data.MapNestedAttribute{NestedObject: nested, Computed: true, MarkdownDescription: said}
	case f.Kind == List:
		return data.ListAttribute{ElementType: f.Item.element(), Computed: true, MarkdownDescription: said}
	case f.Kind == Map:
		return data.MapAttribute{ElementType: f.Item.element(), Computed: true, MarkdownDescription: said}
	case f.Kind == Flag:
		return data.BoolAttribute{Computed: true, MarkdownDescription: said}
	case f.Kind == Whole:
		return data.Int64Attribute{Computed: true, MarkdownDescription: said}
	case f.Kind == Number:
		return data.Float64Attribute{Computed: true, MarkdownDescription: said}
	default:
		return data.StringAttribute{Computed: true, MarkdownDescription: said}
	}
}

// Filters are the attributes of a data source that the user may state.
func Filters(fields []*Field) map[string]data.Attribute {
	attributes := make(map[string]data.Attribute, len(fields))
	for _, field := range fields {
		switch field.Kind {
		case Flag:
			attributes[field.Name] = data.BoolAttribute{Optional: true, MarkdownDescription: field.Description}
		case Whole:
			attributes[field.Name] = data.Int64Attribute{Optional: true, MarkdownDescription: field.Description}
		default:
			attributes[field.Name] = data.StringAttribute{Optional: true, MarkdownDescription: field.Description}
		}
	}
	return attributes
}

func (f *Field) nests() bool { return f.Kind == Object || f.Kind == Reference }

func (f *Field) element() attr.Type {
	switch f.Kind {
	case Flag:
		return types.BoolType
	case Whole:
		return types.Int64Type
	case Number:
		return types.Float64Type
	default:
		return types.StringType
	}
}

// Type is what Terraform's values of the field are.
func (f *Field) Type() tftypes.Type {
	switch f.Kind {
	case Object, Reference:
		types := make(map[string]tftypes.Type, len(f.Fields))
		for _, child := range f.Fields {
			types[child.Name] = child.Type()
		}
		return tftypes.Object{AttributeTypes: types}
	case List:
		return tftypes.List{ElementType: f.Item.Type()}
	case Map:
		return tftypes.Map{ElementType: f.Item.Type()}
	case Flag:
		return tftypes.Bool
	case Whole, Number:
		return tftypes.Number
	default:
		return tftypes.String
	}
}

// Says is the description, with what is expected and the default.
func (f *Field) Says() string {
	said := []string{f.Description}
	switch {
	case len(f.Enum) > 0:
		said = append(said, "One of "+quoted(f.Enum)+".")
	case f.Kind == Map && len(f.Item.Enum) > 0:
		said = append(said, "Each is one of "+quoted(f.Item.Enum)+".")
	case f.Form != "" && f.Kind == Text:
		said = append(said, "Expected: "+f.Form+".")
	case f.Minimum != nil && f.Maximum != nil:
		said = append(said, fmt.Sprintf("From %s to %s.", plainNumber(*f.Minimum), plainNumber(*f.Maximum)))
	}
	switch value := f.Default.(type) {
	case nil, node, []any:
	default:
		said = append(said, fmt.Sprintf("By default `%v`.", value))
	}
	return strings.TrimSpace(strings.Join(said, " "))
}

func quoted(words []string) string { return "`" + strings.Join(words, "`, `") + "`" }

func plainNumber(number float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", number), "0"), ".")
}
