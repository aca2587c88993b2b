package provider

import (
	"context"
	"encoding/json"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"fnbridge.dev/terraform-provider-fnbridge/internal/api"
)

// writtenKey: when Terraform wrote the secret. Another time means another hand.
const writtenKey = "written"

type secretResource struct{ fleet *fleet }

var (
	_ resource.ResourceWithConfigure   = &secretResource{}
	_ resource.ResourceWithImportState = &secretResource{}
	_ resource.ResourceWithModifyPlan  = &secretResource{}
)

type secretModel struct {
	Name     types.String   `tfsdk:"name"`
	Value    types.String   `tfsdk:"value_wo"`
	Version  types.Int64    `tfsdk:"value_wo_version"`
	Changed  types.String   `tfsdk:"changed"`
	Timeouts timeouts.Value `tfsdk:"timeouts"`
}

func (r *secretResource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = "fnbridge_secret"
}

func (r *secretResource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "A secret that pipelines refer to as `{ secret = name }`. The fleet keeps it encrypted and never tells it; Terraform sends it, and " +
			"keeps it in no plan and no state. The workers need `access.secrets_key`.",
		Attributes: map[string]schema.Attribute{
			"name": schema.StringAttribute{
				Required:            true,
				MarkdownDescription: "1 to 63 of a-z, 0-9 and -, beginning with a letter or digit. Another name is another secret.",
				PlanModifiers:       []planmodifier.String{stringplanmodifier.RequiresReplace()},
			},
			"value_wo": schema.StringAttribute{
				Required: true, WriteOnly: true, Sensitive: true,
				MarkdownDescription: "What is secret, 1 to 65536 bytes. Give it from an ephemeral resource or variable.",
			},
			"value_wo_version": schema.Int64Attribute{
				Optional:            true,
				MarkdownDescription: "Another number has `value_wo` written anew: this is how a secret is rotated.",
			},
			"changed": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "When it was written last, RFC 3339. One that another hand has written is written anew.",
			},
			"timeouts": timeouts.Attributes(ctx, timeouts.Opts{
				Create: true, Read: true, Update: true, Delete: true,
				CreateDescription: "How long a fleet that does not answer is waited for. By default `2m`.",
				ReadDescription:   "The same for reading. By default `30s`.",
				UpdateDescription: "The same for a change. By default `2m`.",
				DeleteDescription: "The same for destroying. By default `2m`.",
			}),
		},
	}
}

func (r *secretResource) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	if found, ok := req.ProviderData.(*fleet); ok {
		r.fleet = found
	}
}

func (r *secretResource) client() (*api.Client, error) {
	if r.fleet == nil || r.fleet.client == nil {
		return nil, errNotConfigured
	}
	return r.fleet.client, nil
}

// ModifyPlan tells pipelines which secrets will be there, and has one written anew that another hand has written.
func (r *secretResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var name types.String
	resp.Diagnostics.Append(req.Plan.GetAttribute(ctx, path.Root("name"), &name)...)
	if r.fleet != nil {
		r.fleet.planned.add(name.ValueString())
	}
	if req.State.Raw.IsNull() {
		r.checkName(ctx, name, &resp.Diagnostics)
		return
	}
	var state, plan secretModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	r.hold(state.Name)
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	kept, _ := req.Private.GetKey(ctx, writtenKey)
	var written string
	byAnother := len(kept) > 0 && json.Unmarshal(kept, &written) == nil && written != state.Changed.ValueString()
	changed := types.StringUnknown()
	if !byAnother && !state.Changed.IsNull() && plan.Name.Equal(state.Name) && plan.Version.Equal(state.Version) {
		// There is nothing to write, whatever else differs.
		changed = state.Changed
	}
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("changed"), changed)...)
}

func (r *secretResource) hold(name types.String) {
	if r.fleet != nil {
		r.fleet.secrets.add(name.ValueString())
	}
}

// checkName says before anything is applied that the name is in use. A fleet that is away is asked again when it is.
func (r *secretResource) checkName(ctx context.Context, name types.String, into *diag.Diagnostics) {
	client, err := r.client()
	if err != nil || name.IsUnknown() || r.fleet.secrets.has(name.ValueString()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	found, err := client.SecretNow(ctx, name.ValueString())
	switch {
	case api.IsAway(err):
	case err != nil:
		addSecretRefusal(into, name.ValueString(), "checked", err)
	case found != nil:
		into.AddAttributeError(path.Root("name"), name.ValueString()+" can't be written", secretInUse(found))
	}
}

func (r *secretResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan, config secretModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	client, err := r.client()
	name := plan.Name.ValueString()
	if err != nil {
		resp.Diagnostics.AddError(name+" was not written", err.Error())
	}
	ctx, cancel := within(ctx, req.Plan, timeouts.Value.Create, createWithin, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}
	found, err := client.Secret(ctx, name)
	if err == nil && found != nil {
		resp.Diagnostics.AddAttributeError(path.Root("name"), name+" was not written", secretInUse(found))
		return
	}
	if err != nil {
		addSecretRefusal(&resp.Diagnostics, name, "written", err)
		return
	}
	err = r.write(ctx, client, &plan, config.Value.ValueString())
	if err != nil {
		addSecretRefusal(&resp.Diagnostics, name, "written", err)
		if !api.IsAway(err) {
			return
		}
		// It may have been written: kept, so that it is written anew or taken away, and not left behind.
		plan.Changed = types.StringNull()
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, plan)...)
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, writtenKey, quoted(plan.Changed))...)
}

func (r *secretResource) write(ctx context.Context, client *api.Client, plan *secretModel, value string) error {
	if err := client.WriteSecret(ctx, plan.Name.ValueString(), value); err != nil {
		return err
	}
	written, err := client.Secret(ctx, plan.Name.ValueString())
	if err != nil {
		return err
	}
	plan.Changed = types.StringNull()
	if written != nil {
		plan.Changed = types.StringValue(written.Changed)
	}
	return nil
}

func (r *secretResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state secretModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	name := state.Name.ValueString()
	r.hold(state.Name)
	client, err := r.client()
	if err != nil {
		resp.Diagnostics.AddError(name+" could not be read", err.Error())
	}
	ctx, cancel := within(ctx, req.State, timeouts.Value.Read, readWithin, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}
	found, err := client.Secret(ctx, name)
	switch {
	case err != nil:
		addSecretRefusal(&resp.Diagnostics, name, "read", err)
	case found == nil:
		resp.State.RemoveResource(ctx)
	default:
		state.Changed = types.StringValue(found.Changed)
		resp.Diagnostics.Append(resp.State.Set(ctx, state)...)
	}
}

func (r *secretResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, config secretModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...)
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	if !plan.Changed.IsUnknown() {
		resp.Diagnostics.Append(resp.State.Set(ctx, plan)...)
		return
	}
	client, err := r.client()
	if err != nil {
		resp.Diagnostics.AddError(plan.Name.ValueString()+" was not written", err.Error())
	}
	ctx, cancel := within(ctx, req.Plan, timeouts.Value.Update, updateWithin, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}
	if err := r.write(ctx, client, &plan, config.Value.ValueString()); err != nil {
		addSecretRefusal(&resp.Diagnostics, plan.Name.ValueString(), "written", err)
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, plan)...)
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, writtenKey, quoted(plan.Changed))...)
}

func (r *secretResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state secretModel
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	name := state.Name.ValueString()
	client, err := r.client()
	if err != nil {
		resp.Diagnostics.AddError(name+" was not destroyed", err.Error())
	}
	ctx, cancel := within(ctx, req.State, timeouts.Value.Delete, updateWithin, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}
	if err := client.DeleteSecret(ctx, name); err != nil {
		addSecretRefusal(&resp.Diagnostics, name, "destroyed", err)
	}
}

func (r *secretResource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	resource.ImportStatePassthroughID(ctx, path.Root("name"), req, resp)
}

func quoted(text types.String) []byte {
	encoded, _ := json.Marshal(text.ValueString())
	return encoded
}
