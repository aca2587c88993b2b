// Package provider has what Terraform sees: the provider, its resources and its data sources.
package provider

import (
	"context"
	"os"
	"sync"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"fnbridge.dev/terraform-provider-fnbridge/internal/api"
)

const defaultURL = "http://127.0.0.1:8470"

type fnbridge struct{ version string }

// New makes the provider.
func New(version string) func() provider.Provider {
	return func() provider.Provider { return &fnbridge{version} }
}

func (p *fnbridge) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName, resp.Version = "fnbridge", p.version
}

func (p *fnbridge) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "fnbridge attaches functions to Kafka topics. This provider registers pipelines and secrets with a fleet, over the " +
			"API of one of its workers with the role `control`.",
		Attributes: map[string]schema.Attribute{
			"url": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "Where the API is. Else `FNBRIDGE_URL`, else `" + defaultURL + "`.",
			},
			"token": schema.StringAttribute{
				Optional: true, Sensitive: true,
				MarkdownDescription: "A token of the role `editor` or more, as `fnbridge tokens create` makes them. Else `FNBRIDGE_TOKEN`, which keeps it " +
					"out of files; a worker on a loopback address asks for none.",
			},
			"ca": schema.StringAttribute{
				Optional: true,
				MarkdownDescription: "The path of a file with certificates in PEM to trust, where the system does not know who signed the workers'. Else " +
					"`FNBRIDGE_CA`.",
			},
		},
	}
}

type settings struct {
	URL   types.String `tfsdk:"url"`
	Token types.String `tfsdk:"token"`
	CA    types.String `tfsdk:"ca"`
}

func (p *fnbridge) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	var stated settings
	resp.Diagnostics.Append(req.Config.Get(ctx, &stated)...)
	if resp.Diagnostics.HasError() {
		return
	}
	fleet := &fleet{}
	resp.ResourceData, resp.DataSourceData = fleet, fleet
	// Known once something else is applied: until then, there is nobody to ask.
	if stated.URL.IsUnknown() || stated.Token.IsUnknown() || stated.CA.IsUnknown() {
		return
	}
	client, err := api.New(
		orVariable(stated.URL, "FNBRIDGE_URL", defaultURL),
		orVariable(stated.Token, "FNBRIDGE_TOKEN", ""),
		orVariable(stated.CA, "FNBRIDGE_CA", ""),
		"terraform-provider-fnbridge/"+p.version,
	)
	if err != nil {
		at := path.Root("url")
		if !stated.CA.IsNull() {
			at = path.Root("ca")
		}
		resp.Diagnostics.AddAttributeError(at, "The provider can't be set up", err.Error())
		return
	}
	fleet.client = client
}

func orVariable(stated types.String, variable, otherwise string) string {
	if found := stated.ValueString(); found != "" {
		return found
	}
	if found := os.Getenv(variable); found != "" {
		return found
	}
	return otherwise
}

func (p *fnbridge) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{
		func() resource.Resource { return &pipelineResource{} },
		func() resource.Resource { return &secretResource{} },
	}
}

func (p *fnbridge) DataSources(context.Context) []func() datasource.DataSource {
	return []func() datasource.DataSource{
		func() datasource.DataSource { return &pipelineData{} },
		func() datasource.DataSource { return &fleetData{} },
		func() datasource.DataSource { return &lettersData{} },
	}
}

// fleet is what resources share while Terraform plans or applies.
type fleet struct {
	// nil: what is needed to ask is not known yet.
	client *api.Client
	// In the state: these names are in use by right.
	pipelines, secrets names
	// Secrets that will be there before what refers to them.
	planned names
}

type names struct{ known sync.Map }

func (n *names) add(name string) { n.known.Store(name, true) }

func (n *names) has(name string) bool {
	_, found := n.known.Load(name)
	return found
}
