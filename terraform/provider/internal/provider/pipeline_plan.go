package provider

import (
	"context"
	"encoding/json"
	"fmt"
	bignumber "math/big"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"fnbridge.dev/terraform-provider-fnbridge/internal/api"
	"fnbridge.dev/terraform-provider-fnbridge/internal/contract"
)

// A plan does not wait for a fleet that is away: the schema has been asked.
const checkWithin = 5 * time.Second

// ValidateConfig tells what the schema alone can tell.
func (r *pipelineResource) ValidateConfig(_ context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	for _, problem := range contract.Pipeline().Problems(req.Config.Raw, "") {
		addProblem(&resp.Diagnostics, problem, "The pipeline's document has a problem")
	}
	for _, empty := range contract.Pipeline().Empty(req.Config.Raw, "") {
		resp.Diagnostics.AddAttributeWarning(path.Root(empty.Attribute()), "Nothing is stated here", empty.Field+": "+empty.Message)
	}
}

// ModifyPlan says what takes a new pipeline, and lets the fleet judge the document.
func (r *pipelineResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	state, plan := valuesOf(req.State.Raw), valuesOf(req.Plan.Raw)
	if state != nil && r.fleet != nil {
		r.fleet.pipelines.add(textOf(state["name"]))
	}
	if state != nil {
		resp.RequiresReplace = fixedChanges(state, plan)
		if len(resp.RequiresReplace) == 0 {
			resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("revision"), r.plannedRevision(ctx, req, state, plan))...)
		}
	}
	r.check(ctx, req, resp)
}

// plannedRevision is known where there is nothing to send: nothing differs, or only what Terraform keeps to itself.
func (r *pipelineResource) plannedRevision(ctx context.Context, req resource.ModifyPlanRequest, state, plan map[string]tftypes.Value) types.Int64 {
	now := wholeOf(state["revision"])
	if now == 0 || r.secretsMayDiffer(ctx, req) {
		return types.Int64Unknown()
	}
	for name, planned := range plan {
		if !slices.Contains(keptHere, name) && !planned.Equal(state[name]) {
			return types.Int64Unknown()
		}
	}
	return types.Int64Value(now)
}

// keptHere are the attributes that no request carries to the fleet; the revision comes from there.
var keptHere = []string{"timeouts", "delete_offsets", "revision"}

// fixed are the attributes that a pipeline's offsets belong to.
var fixed = []path.Path{path.Root("name"), path.Root("source").AtName("cluster"), path.Root("source").AtName("group")}

func fixedChanges(state, plan map[string]tftypes.Value) path.Paths {
	var changed path.Paths
	before, after := belongsTo(state), belongsTo(plan)
	for at, attribute := range fixed {
		if before[at] != after[at] {
			changed = append(changed, attribute)
		}
	}
	// Another name by itself has another group by default.
	if len(changed) > 1 && changed[0].Equal(fixed[0]) {
		return changed[:1]
	}
	return changed
}

const notKnown = "\x00"

// belongsTo is what name, cluster and group are, stated or by default.
func belongsTo(values map[string]tftypes.Value) [3]string {
	stated := func(value tftypes.Value, otherwise string) string {
		switch {
		case value.Type() != nil && !value.IsKnown():
			return notKnown
		case textOf(value) == "":
			return otherwise
		default:
			return textOf(value)
		}
	}
	if !values["source"].IsKnown() {
		return [3]string{stated(values["name"], ""), notKnown, notKnown}
	}
	source := valuesOf(values["source"])
	name := stated(values["name"], "")
	return [3]string{name, stated(source["cluster"], "default"), stated(source["group"], "fnbridge-"+name)}
}

// secretsMayDiffer: another hand made a revision, and what is write-only can't be compared.
func (r *pipelineResource) secretsMayDiffer(ctx context.Context, req resource.ModifyPlanRequest) bool {
	if !hasWriteOnly(contract.Pipeline(), req.Config.Raw) {
		return false
	}
	kept, _ := req.Private.GetKey(ctx, appliedKey)
	var made struct {
		Revision int64 `json:"revision"`
	}
	if len(kept) == 0 || json.Unmarshal(kept, &made) != nil {
		return false
	}
	return made.Revision != wholeOf(valuesOf(req.State.Raw)["revision"])
}

func hasWriteOnly(field *contract.Field, value tftypes.Value) bool {
	if value.Type() == nil || value.IsNull() || !value.IsKnown() {
		return field.WriteOnly && value.Type() != nil && !value.IsNull()
	}
	switch field.Kind {
	case contract.List:
		var items []tftypes.Value
		_ = value.As(&items)
		for _, item := range items {
			if hasWriteOnly(field.Item, item) {
				return true
			}
		}
	case contract.Map:
		for _, item := range valuesOf(value) {
			if hasWriteOnly(field.Item, item) {
				return true
			}
		}
	case contract.Object, contract.Reference:
		values := valuesOf(value)
		for _, child := range field.Fields {
			if hasWriteOnly(child, values[child.Name]) {
				return true
			}
		}
	default:
		return field.WriteOnly
	}
	return false
}

// check asks the fleet what it would say to the document, where all of it is known.
func (r *pipelineResource) check(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	client, err := r.client()
	if err != nil {
		return
	}
	document, name, err := documentOf(req.Config.Raw)
	if err != nil || len(contract.Pipeline().Problems(req.Config.Raw, "")) > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	checked, err := client.Check(ctx, document)
	switch {
	case api.IsAway(err):
		resp.Diagnostics.AddWarning(name+" was checked by the schema alone", "The fleet does not answer: "+err.Error()+" What else is wrong with the "+
			"document shows when it is applied.")
		return
	case err != nil:
		addRefusal(&resp.Diagnostics, name, "checked", err)
		return
	}
	isNew := req.State.Raw.IsNull()
	// Terraform plans a replacement as if nothing were there, once it has planned what goes.
	isReplaced := len(resp.RequiresReplace) > 0 || (isNew && r.fleet.pipelines.has(name))
	for _, problem := range checked.Problems {
		if r.willBeThere(document, problem.Field) || (isReplaced && isFixed(problem.Field)) {
			continue
		}
		addProblem(&resp.Diagnostics, problem, "The pipeline's document has a problem")
	}
	if checked.Valid && isNew && checked.Would != "create" && !r.fleet.pipelines.has(name) {
		resp.Diagnostics.AddAttributeError(path.Root("name"), name+" can't be created", inUse(name, checked.Revision))
	}
}

func isFixed(field string) bool {
	return field == "name" || field == "source.cluster" || field == "source.group"
}

// willBeThere: the field refers to a secret that is created or written before the pipeline.
func (r *pipelineResource) willBeThere(document api.Document, field string) bool {
	at := any(document)
	for _, step := range strings.FieldsFunc(field, func(c rune) bool { return c == '.' || c == '[' || c == ']' }) {
		switch found := at.(type) {
		case map[string]any:
			at = found[step]
		case []any:
			var index int
			if _, err := fmt.Sscan(step, &index); err != nil || index >= len(found) {
				return false
			}
			at = found[index]
		default:
			return false
		}
	}
	reference, ok := at.(map[string]any)
	secret, isText := reference["secret"].(string)
	return ok && isText && r.fleet.planned.has(secret)
}

func big(value tftypes.Value) *bignumber.Float {
	var found bignumber.Float
	if value.Type() == nil || value.IsNull() || !value.IsKnown() || value.As(&found) != nil {
		return nil
	}
	return &found
}
