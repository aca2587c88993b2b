package provider

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	datatimeouts "github.com/hashicorp/terraform-plugin-framework-timeouts/datasource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"fnbridge.dev/terraform-provider-fnbridge/internal/api"
	"fnbridge.dev/terraform-provider-fnbridge/internal/contract"
)

// asker is what each data source has.
type asker struct{ fleet *fleet }

func (a *asker) Configure(_ context.Context, req datasource.ConfigureRequest, _ *datasource.ConfigureResponse) {
	if found, ok := req.ProviderData.(*fleet); ok {
		a.fleet = found
	}
}

func (a *asker) client() (*api.Client, error) {
	if a.fleet == nil || a.fleet.client == nil {
		return nil, errNotConfigured
	}
	return a.fleet.client, nil
}

func (a *asker) within(ctx context.Context, req datasource.ReadRequest, into *diag.Diagnostics) (context.Context, context.CancelFunc) {
	var stated datatimeouts.Value
	into.Append(req.Config.GetAttribute(ctx, path.Root("timeouts"), &stated)...)
	limit, found := stated.Read(ctx, readWithin)
	into.Append(found...)
	return context.WithTimeout(ctx, limit)
}

func timeoutsOf(ctx context.Context) schema.Attribute {
	return datatimeouts.AttributesWithOpts(ctx, datatimeouts.Opts{
		ReadDescription: "How long a fleet that does not answer is waited for. By default `30s`.",
	})
}

// told sets what was answered beside what was asked.
func told(config tftypes.Value, answers map[string]tftypes.Value) tftypes.Value {
	values := valuesOf(config)
	for name, value := range answers {
		values[name] = value
	}
	return tftypes.NewValue(config.Type(), values)
}

func decoded(field *contract.Field, answer any) tftypes.Value {
	var beyond []string
	return field.Decode(answer, tftypes.Value{}, "", &beyond)
}

// pipelineData is a pipeline as it is registered, and how it stands.
type pipelineData struct{ asker }

func (d *pipelineData) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = "fnbridge_pipeline"
}

func (d *pipelineData) Schema(ctx context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	attributes := contract.Pipeline().ReadOnly().Computed()
	attributes["name"] = schema.StringAttribute{Required: true, MarkdownDescription: contract.Pipeline().Child("name").Description}
	attributes["revision"] = schema.Int64Attribute{Computed: true, MarkdownDescription: "Counts the pipeline's changes from 1; null for one from a file."}
	status := contract.Answer("PipelineSummary")
	status.Description = "How it stands."
	attributes["status"] = status.ComputedAttribute()
	attributes["timeouts"] = timeoutsOf(ctx)
	resp.Schema = schema.Schema{
		MarkdownDescription: "A pipeline as it is registered, whoever did it, and how it stands. Secrets that its document holds as text are left out.",
		Attributes:          attributes,
	}
}

func (d *pipelineData) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	name := textOf(valuesOf(req.Config.Raw)["name"])
	client, err := d.client()
	if err != nil {
		resp.Diagnostics.AddError(name+" was not read", err.Error())
		return
	}
	ctx, cancel := d.within(ctx, req, &resp.Diagnostics)
	defer cancel()
	found, err := client.Pipeline(ctx, name)
	if err != nil {
		addRefusal(&resp.Diagnostics, name, "read", err)
		return
	}
	answers := map[string]tftypes.Value{"revision": tftypes.NewValue(tftypes.Number, nil)}
	if found.Revision > 0 {
		answers["revision"] = tftypes.NewValue(tftypes.Number, found.Revision)
	}
	for _, field := range contract.Pipeline().ReadOnly().Fields {
		answers[field.Name] = decoded(field, found.Document[field.Name])
	}
	answers["status"] = decoded(contract.Answer("PipelineSummary"), found.Status)
	resp.State.Raw = told(req.Config.Raw, answers)
}

// fleetData are the workers and what they run.
type fleetData struct{ asker }

var (
	workers   = contract.Field{Name: "workers", Kind: contract.List, Description: "The workers that are alive, by id."}
	pipelines = contract.Field{Name: "pipelines", Kind: contract.List, Description: "The pipelines, by name: those in the store, and those from files."}
)

func listOf(field contract.Field, answer string) *contract.Field {
	field.Item = contract.Answer(answer)
	return &field
}

func (d *fleetData) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = "fnbridge_fleet"
}

func (d *fleetData) Schema(ctx context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "The fleet: its workers, and how its pipelines stand.",
		Attributes: map[string]schema.Attribute{
			"workers":   listOf(workers, "Worker").ComputedAttribute(),
			"pipelines": listOf(pipelines, "PipelineSummary").ComputedAttribute(),
			"timeouts":  timeoutsOf(ctx),
		},
	}
}

func (d *fleetData) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	client, err := d.client()
	if err != nil {
		resp.Diagnostics.AddError("The fleet was not read", err.Error())
		return
	}
	ctx, cancel := d.within(ctx, req, &resp.Diagnostics)
	defer cancel()
	answers := map[string]tftypes.Value{}
	for path, field := range map[string]*contract.Field{
		"/v1/workers":   listOf(workers, "Worker"),
		"/v1/pipelines": listOf(pipelines, "PipelineSummary"),
	} {
		items, err := client.All(ctx, path, field.Name, nil)
		if err != nil {
			addRefusal(&resp.Diagnostics, "The fleet", "read", err)
			return
		}
		answers[field.Name] = decoded(field, items)
	}
	resp.State.Raw = told(req.Config.Raw, answers)
}

// lettersData are counts of dead letters by how they failed.
type lettersData struct{ asker }

const lettersPath = "/v1/dead-letters:groups"

// So many groups are told, at most.
const mostGroups = 100

var groups = contract.Field{Name: "groups", Kind: contract.List, Description: "Dead letters that failed in the same way, the largest group first; at most 100."}

// letterFilters: groups are counted in an index, which does not hold what records have in them.
func letterFilters() []*contract.Field {
	var filters []*contract.Field
	for _, field := range contract.Query(lettersPath) {
		if field.Name != "header" && field.Name != "value" {
			filters = append(filters, field)
		}
	}
	return filters
}

func (d *lettersData) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = "fnbridge_dead_letters"
}

func (d *lettersData) Schema(ctx context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	attributes := contract.Filters(letterFilters())
	attributes["groups"] = listOf(groups, "LetterGroup").ComputedAttribute()
	attributes["total"] = schema.Int64Attribute{Computed: true, MarkdownDescription: "How many letters there are in all `groups`."}
	attributes["complete"] = schema.BoolAttribute{
		Computed:            true,
		MarkdownDescription: "Whether `groups` are all there are; where they may not be, `total` is the least that there are.",
	}
	attributes["timeouts"] = timeoutsOf(ctx)
	resp.Schema = schema.Schema{
		MarkdownDescription: "Dead letters, counted by how they failed; without a `mark`, those that somebody has to see to. A `check` block that refuses any " +
			"says so on each plan and apply. What was written in the last second or two may be missing yet.",
		Attributes: attributes,
	}
}

func (d *lettersData) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	client, err := d.client()
	if err != nil {
		resp.Diagnostics.AddError("Dead letters were not read", err.Error())
		return
	}
	ctx, cancel := d.within(ctx, req, &resp.Diagnostics)
	defer cancel()
	stated, query := valuesOf(req.Config.Raw), url.Values{}
	for _, filter := range letterFilters() {
		if found := stated[filter.Name]; !found.IsNull() {
			encoded, err := filter.Encode(found)
			if err != nil {
				resp.Diagnostics.AddAttributeError(path.Root(filter.Name), "Dead letters were not read", err.Error())
				return
			}
			query.Set(filter.Name, fmt.Sprint(encoded))
		}
	}
	items, err := client.All(ctx, lettersPath, "groups", query)
	if err != nil {
		addRefusal(&resp.Diagnostics, "Dead letters", "read", err)
		return
	}
	total := int64(0)
	for _, item := range items {
		if group, ok := item.(map[string]any); ok {
			count, _ := strconv.ParseInt(fmt.Sprint(group["count"]), 10, 64)
			total += count
		}
	}
	resp.State.Raw = told(req.Config.Raw, map[string]tftypes.Value{
		"groups":   decoded(listOf(groups, "LetterGroup"), items),
		"total":    tftypes.NewValue(tftypes.Number, total),
		"complete": tftypes.NewValue(tftypes.Bool, len(items) < mostGroups),
	})
}
