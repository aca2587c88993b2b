package provider

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"fnbridge.dev/terraform-provider-fnbridge/internal/api"
	"fnbridge.dev/terraform-provider-fnbridge/internal/contract"
)

// How long is waited for a fleet that does not answer, and for records on the wire.
const (
	createWithin = 2 * time.Minute
	readWithin   = 30 * time.Second
	updateWithin = 2 * time.Minute
	deleteWithin = 10 * time.Minute
)

// appliedKey: the revision that Terraform made. One that differs was made by another hand, which may have changed a literal secret.
const appliedKey = "applied_revision"

type pipelineResource struct{ fleet *fleet }

var (
	_ resource.ResourceWithConfigure      = &pipelineResource{}
	_ resource.ResourceWithImportState    = &pipelineResource{}
	_ resource.ResourceWithModifyPlan     = &pipelineResource{}
	_ resource.ResourceWithValidateConfig = &pipelineResource{}
)

func (r *pipelineResource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = "fnbridge_pipeline"
}

func (r *pipelineResource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	attributes := contract.Pipeline().Attributes()
	attributes["revision"] = schema.Int64Attribute{
		Computed:            true,
		MarkdownDescription: "Counts the pipeline's changes from 1, whoever made them.",
	}
	attributes["secrets_wo_version"] = schema.Int64Attribute{
		Optional: true,
		MarkdownDescription: "Another number has the `value_wo` of `function` and `sinks` sent anew: they stand in no plan, so nothing else tells that they " +
			"differ.",
	}
	attributes["delete_offsets"] = schema.BoolAttribute{
		Optional: true,
		MarkdownDescription: "Whether the consumer group's offsets go when the pipeline is destroyed. They stay where nothing is said, and a pipeline of " +
			"the same group goes on where this one ended.",
	}
	attributes["timeouts"] = timeouts.Attributes(ctx, timeouts.Opts{
		Create: true, Read: true, Update: true, Delete: true,
		CreateDescription: "How long a fleet that does not answer is waited for. By default `2m`.",
		ReadDescription:   "The same for reading. By default `30s`.",
		UpdateDescription: "The same for a change. By default `2m`.",
		DeleteDescription: "How long records on the wire are waited for, too. By default `10m`.",
	})
	resp.Schema = schema.Schema{
		MarkdownDescription: "A pipeline: topics, a function, sinks, and the policies between them. `name`, `source.cluster` and `source.group` are what its " +
			"offsets belong to: another value makes another pipeline. When it is destroyed, calls on the wire are waited for.",
		Attributes: attributes,
	}
}

func (r *pipelineResource) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	if found, ok := req.ProviderData.(*fleet); ok {
		r.fleet = found
	}
}

func (r *pipelineResource) client() (*api.Client, error) {
	if r.fleet == nil || r.fleet.client == nil {
		return nil, errNotConfigured
	}
	return r.fleet.client, nil
}

func (r *pipelineResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	document, name, err := documentOf(req.Config.Raw)
	client, unknown := r.client()
	if err = errors.Join(err, unknown); err != nil {
		resp.Diagnostics.AddError("The pipeline was not created", err.Error())
		return
	}
	ctx, cancel := within(ctx, req.Plan, timeouts.Value.Create, createWithin, &resp.Diagnostics)
	defer cancel()
	made, err := client.Create(ctx, name, document)
	var unconfirmed *api.Unconfirmed
	if errors.As(err, &unconfirmed) {
		// Kept without a revision: the next refresh finds out, and what is ours is replaced or taken away, never left behind.
		resp.State.Raw = req.Plan.Raw
		resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("revision"), types.Int64Null())...)
	}
	if err != nil {
		addRefusal(&resp.Diagnostics, name, "created", err)
		return
	}
	resp.State.Raw = req.Plan.Raw
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("revision"), made.Revision)...)
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, appliedKey, applied(made.Revision))...)
}

func (r *pipelineResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	before := valuesOf(req.State.Raw)
	name := textOf(before["name"])
	client, err := r.client()
	if err != nil {
		resp.Diagnostics.AddError(name+" could not be read", err.Error())
		return
	}
	r.fleet.pipelines.add(name)
	ctx, cancel := within(ctx, req.State, timeouts.Value.Read, readWithin, &resp.Diagnostics)
	defer cancel()
	found, err := client.Pipeline(ctx, name)
	if api.Is(err, "not_found") {
		resp.State.RemoveResource(ctx)
		return
	}
	if err != nil {
		addRefusal(&resp.Diagnostics, name, "read", err)
		return
	}
	if before["revision"].IsNull() && !r.isOurs(ctx, req.State.Raw, found) {
		resp.Diagnostics.AddWarning(name+" is not ours", "When it was to be created, no answer came. Under its name stands another pipeline now, with "+
			"another document: it is left as it is, and is in this state no more.")
		resp.State.RemoveResource(ctx)
		return
	}
	read, beyond := stateOf(found, req.State.Raw)
	resp.State.Raw = read
	warnBeyond(&resp.Diagnostics, name, beyond)
}

// A pipeline whose creation was not confirmed is ours if all of it that the state has is the same.
func (r *pipelineResource) isOurs(_ context.Context, state tftypes.Value, found *api.Pipeline) bool {
	read, beyond := stateOf(found, state)
	ours, before := valuesOf(read), valuesOf(state)
	for _, field := range contract.Pipeline().Fields {
		if !ours[field.Name].Equal(before[field.Name]) {
			return false
		}
	}
	return len(beyond) == 0
}

func (r *pipelineResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	if valuesOf(req.Plan.Raw)["revision"].IsKnown() {
		resp.State.Raw = req.Plan.Raw
		return
	}
	document, name, err := documentOf(req.Config.Raw)
	client, unknown := r.client()
	if err = errors.Join(err, unknown); err != nil {
		resp.Diagnostics.AddError("The pipeline was not changed", err.Error())
		return
	}
	ctx, cancel := within(ctx, req.Plan, timeouts.Value.Update, updateWithin, &resp.Diagnostics)
	defer cancel()
	now, err := client.Pipeline(ctx, name)
	if err != nil {
		addRefusal(&resp.Diagnostics, name, "changed", err)
		return
	}
	if _, beyond := stateOf(now, req.State.Raw); len(beyond) > 0 {
		resp.Diagnostics.AddError(name+" was not changed", "Its document has what this version of the provider does not know, and would take away: "+
			strings.Join(beyond, ", ")+". A newer fnbridge has written it: install the provider of its version, or take that out of the document.")
		return
	}
	made, err := client.Change(ctx, name, document, wholeOf(valuesOf(req.State.Raw)["revision"]))
	if err != nil {
		addRefusal(&resp.Diagnostics, name, "changed", err)
		return
	}
	resp.State.Raw = req.Plan.Raw
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("revision"), made.Revision)...)
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, appliedKey, applied(made.Revision))...)
}

func (r *pipelineResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	state := valuesOf(req.State.Raw)
	name := textOf(state["name"])
	client, err := r.client()
	if err != nil {
		resp.Diagnostics.AddError(name+" was not destroyed", err.Error())
		return
	}
	ctx, cancel := within(ctx, req.State, timeouts.Value.Delete, deleteWithin, &resp.Diagnostics)
	defer cancel()
	if state["revision"].IsNull() {
		found, err := client.Pipeline(ctx, name)
		if api.Is(err, "not_found") || (err == nil && !r.isOurs(ctx, req.State.Raw, found)) {
			return
		}
	}
	var withOffsets bool
	if stated := state["delete_offsets"]; !stated.IsNull() {
		_ = stated.As(&withOffsets)
	}
	if err := client.Delete(ctx, name, withOffsets); err != nil {
		addRefusal(&resp.Diagnostics, name, "destroyed", err)
	}
}

func (r *pipelineResource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	client, err := r.client()
	if err != nil {
		resp.Diagnostics.AddError(req.ID+" was not imported", err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	found, err := client.Pipeline(ctx, req.ID)
	if err != nil {
		addRefusal(&resp.Diagnostics, req.ID, "imported", err)
		return
	}
	read, beyond := stateOf(found, resp.State.Raw, asItStands)
	resp.State.Raw = read
	warnBeyond(&resp.Diagnostics, req.ID, beyond)
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, appliedKey, applied(found.Revision))...)
}

func warnBeyond(into *diag.Diagnostics, name string, beyond []string) {
	if len(beyond) > 0 {
		into.AddWarning(name+" has what this version does not know", "Found "+strings.Join(beyond, ", ")+" in its document, which a newer fnbridge has "+
			"written. No plan shows it, and the provider changes nothing of the pipeline until it knows: install the provider of that version.")
	}
}

// within bounds what is done by the user's time-out, or by ours.
func within(
	ctx context.Context, from interface {
		GetAttribute(context.Context, path.Path, any) diag.Diagnostics
	},
	of func(timeouts.Value, context.Context, time.Duration) (time.Duration, diag.Diagnostics), otherwise time.Duration, into *diag.Diagnostics,
) (context.Context, context.CancelFunc) {
	var stated timeouts.Value
	into.Append(from.GetAttribute(ctx, path.Root("timeouts"), &stated)...)
	limit, found := of(stated, ctx, otherwise)
	into.Append(found...)
	return context.WithTimeout(ctx, limit)
}

// documentOf is the pipeline's document, secrets and all, of a configuration that is known.
func documentOf(config tftypes.Value) (api.Document, string, error) {
	encoded, err := contract.Pipeline().Encode(config)
	if err != nil {
		return nil, "", err
	}
	document := encoded.(map[string]any)
	name, _ := document["name"].(string)
	return document, name, nil
}

// How defaults that stand in a document are read: as nothing where nothing was stated before, or as they stand.
type reading int

const asItStands reading = 1

// stateOf is a pipeline as the state has it; what it keeps of its own stays as it was. `beyond` names what there is no place for.
func stateOf(found *api.Pipeline, before tftypes.Value, how ...reading) (tftypes.Value, []string) {
	old := valuesOf(before)
	values := map[string]tftypes.Value{}
	for name, kind := range before.Type().(tftypes.Object).AttributeTypes {
		values[name] = tftypes.NewValue(kind, nil)
		if kept, ok := old[name]; ok {
			values[name] = kept
		}
	}
	var beyond []string
	fields := contract.Pipeline()
	for _, field := range fields.Fields {
		prior := values[field.Name]
		if len(how) > 0 {
			prior = tftypes.Value{}
		}
		values[field.Name] = field.Decode(found.Document[field.Name], prior, field.Name, &beyond)
	}
	for name := range found.Document {
		if fields.Child(name) == nil {
			beyond = append(beyond, name)
		}
	}
	values["revision"] = tftypes.NewValue(tftypes.Number, found.Revision)
	return tftypes.NewValue(before.Type(), values), beyond
}

func applied(revision int64) []byte {
	encoded, _ := json.Marshal(map[string]int64{"revision": revision})
	return encoded
}

func valuesOf(value tftypes.Value) map[string]tftypes.Value {
	values := map[string]tftypes.Value{}
	if value.IsNull() || !value.IsKnown() || value.As(&values) != nil {
		return nil
	}
	return values
}

func textOf(value tftypes.Value) string {
	var found string
	if value.Type() == nil || value.IsNull() || !value.IsKnown() || value.As(&found) != nil {
		return ""
	}
	return found
}

func wholeOf(value tftypes.Value) int64 {
	found := big(value)
	if found == nil {
		return 0
	}
	whole, _ := found.Int64()
	return whole
}
