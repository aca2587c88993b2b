// Package stub is a provider that has a schema and nothing behind it: enough for `validate`, for tests with `mock_provider`, and for a plan
// of things to be created. It speaks version 6 of Terraform's plugin protocol.
package stub

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"fnbridge.dev/terraform/checks/schema"
)

// Serve serves what schema.json says that lies beside the program, until Terraform ends it.
func Serve() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	document, err := schema.Read(filepath.Join(filepath.Dir(program), "schema.json"))
	if err != nil {
		return err
	}
	provider, err := document.Only()
	if err != nil {
		return err
	}
	response, err := served(provider)
	if err != nil {
		return err
	}
	return tf6server.Serve("stub", func() tfprotov6.ProviderServer { return &server{schemas: response} })
}

// server answers what is asked of it before anything is created. The embedded interface is nil: any other question ends the stub, and
// Terraform says which one it was.
type server struct {
	tfprotov6.ProviderServer
	schemas *tfprotov6.GetProviderSchemaResponse
}

func (s *server) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	return s.schemas, nil
}

func (s *server) GetResourceIdentitySchemas(context.Context, *tfprotov6.GetResourceIdentitySchemasRequest) (*tfprotov6.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov6.GetResourceIdentitySchemasResponse{}, nil
}

func (s *server) ValidateProviderConfig(_ context.Context, request *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: request.Config}, nil
}

func (s *server) ConfigureProvider(context.Context, *tfprotov6.ConfigureProviderRequest) (*tfprotov6.ConfigureProviderResponse, error) {
	return &tfprotov6.ConfigureProviderResponse{}, nil
}

func (s *server) StopProvider(context.Context, *tfprotov6.StopProviderRequest) (*tfprotov6.StopProviderResponse, error) {
	return &tfprotov6.StopProviderResponse{}, nil
}

func (s *server) ValidateResourceConfig(context.Context, *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	return &tfprotov6.ValidateResourceConfigResponse{}, nil
}

func (s *server) ValidateDataResourceConfig(context.Context, *tfprotov6.ValidateDataResourceConfigRequest) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{}, nil
}

// UpgradeResourceState gives a state back as it is: OpenTofu asks even where it mocks the provider.
func (s *server) UpgradeResourceState(_ context.Context, request *tfprotov6.UpgradeResourceStateRequest) (*tfprotov6.UpgradeResourceStateResponse, error) {
	objectType := s.schemas.ResourceSchemas[request.TypeName].ValueType()
	state, err := request.RawState.Unmarshal(objectType)
	if err != nil {
		return nil, err
	}
	upgraded, err := tfprotov6.NewDynamicValue(objectType, state)
	return &tfprotov6.UpgradeResourceStateResponse{UpgradedState: &upgraded}, err
}

// PlanResourceChange plans what was proposed: to create what the configuration says, with all that only the provider knows unknown.
func (s *server) PlanResourceChange(_ context.Context, request *tfprotov6.PlanResourceChangeRequest) (*tfprotov6.PlanResourceChangeResponse, error) {
	described := s.schemas.ResourceSchemas[request.TypeName]
	objectType := described.ValueType()
	unchanged := &tfprotov6.PlanResourceChangeResponse{PlannedState: request.ProposedNewState}
	if !slices.ContainsFunc(described.Block.Attributes, isOurs) {
		return unchanged, nil
	}
	proposed, err := request.ProposedNewState.Unmarshal(objectType)
	if err != nil || proposed.IsNull() {
		return unchanged, err
	}
	var fields map[string]tftypes.Value
	if err := proposed.As(&fields); err != nil {
		return nil, err
	}
	for _, attribute := range described.Block.Attributes {
		if attribute.Computed && fields[attribute.Name].IsNull() {
			fields[attribute.Name] = tftypes.NewValue(attribute.Type, tftypes.UnknownValue)
		}
		if attribute.WriteOnly {
			fields[attribute.Name] = tftypes.NewValue(attribute.Type, nil)
		}
	}
	planned, err := tfprotov6.NewDynamicValue(objectType, tftypes.NewValue(objectType, fields))
	return &tfprotov6.PlanResourceChangeResponse{PlannedState: &planned}, err
}

// isOurs tells an attribute that a provider has its own say in.
func isOurs(attribute *tfprotov6.SchemaAttribute) bool {
	return attribute.Computed || attribute.WriteOnly
}

func served(provider schema.Provider) (*tfprotov6.GetProviderSchemaResponse, error) {
	response := &tfprotov6.GetProviderSchemaResponse{
		ResourceSchemas:          map[string]*tfprotov6.Schema{},
		DataSourceSchemas:        map[string]*tfprotov6.Schema{},
		Functions:                map[string]*tfprotov6.Function{},
		EphemeralResourceSchemas: map[string]*tfprotov6.Schema{},
	}
	own := schema.Entry{}
	if provider.Provider != nil {
		own = *provider.Provider
	}
	var err error
	if response.Provider, err = entry(own); err != nil {
		return nil, fmt.Errorf("provider: %w", err)
	}
	for name, resource := range provider.Resources {
		if response.ResourceSchemas[name], err = entry(resource); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, source := range provider.DataSources {
		if response.DataSourceSchemas[name], err = entry(source); err != nil {
			return nil, fmt.Errorf("data.%s: %w", name, err)
		}
	}
	return response, nil
}

func entry(from schema.Entry) (*tfprotov6.Schema, error) {
	inner, err := block(from.Block)
	return &tfprotov6.Schema{Version: from.Version, Block: inner}, err
}

func block(from schema.Block) (*tfprotov6.SchemaBlock, error) {
	to := &tfprotov6.SchemaBlock{}
	for name, attribute := range from.Attributes {
		attributeType, err := parseType(attribute.Type)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		to.Attributes = append(to.Attributes, &tfprotov6.SchemaAttribute{
			Name: name, Type: attributeType, Required: attribute.Required, Optional: attribute.Optional, Computed: attribute.Computed,
			Sensitive: attribute.Sensitive, WriteOnly: attribute.WriteOnly,
		})
	}
	for name, nested := range from.Blocks {
		inner, err := block(nested.Block)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		nesting, known := nestings[nested.Nesting]
		if !known {
			return nil, fmt.Errorf("%s: found nesting_mode %q, expected single, list or set", name, nested.Nesting)
		}
		to.BlockTypes = append(to.BlockTypes, &tfprotov6.SchemaNestedBlock{
			TypeName: name, Block: inner, Nesting: nesting, MinItems: nested.MinItems, MaxItems: nested.MaxItems,
		})
	}
	return to, nil
}

var nestings = map[string]tfprotov6.SchemaNestedBlockNestingMode{
	"single": tfprotov6.SchemaNestedBlockNestingModeSingle,
	"list":   tfprotov6.SchemaNestedBlockNestingModeList,
	"set":    tfprotov6.SchemaNestedBlockNestingModeSet,
}

// parseType reads a type in cty's JSON.
func parseType(text json.RawMessage) (tftypes.Type, error) {
	if len(text) == 0 {
		return nil, fmt.Errorf("found no type")
	}
	return tftypes.ParseJSONType(text) //nolint:staticcheck // nothing else reads a type on its own
}
