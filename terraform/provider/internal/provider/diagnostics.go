package provider

import (
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"fnbridge.dev/terraform-provider-fnbridge/internal/api"
	"fnbridge.dev/terraform-provider-fnbridge/internal/contract"
)

// addProblem puts a problem at its outermost attribute, and names the field in the text: Terraform shows a wrong line for what is inside.
func addProblem(into *diag.Diagnostics, problem contract.Problem, summary string) {
	text := fmt.Sprintf("%s: %s", problem.Field, problem.Message)
	if attribute := problem.Attribute(); contract.Pipeline().Child(attribute) != nil {
		into.AddAttributeError(path.Root(attribute), summary, text)
		return
	}
	into.AddError(summary, text)
}

// addRefusal says why something was not done, at the fields that it is about.
func addRefusal(into *diag.Diagnostics, name, what string, err error) {
	summary := fmt.Sprintf("%s was not %s", name, what)
	var problem *api.Problem
	if errors.As(err, &problem) {
		switch problem.Code {
		case "name_in_use":
			into.AddAttributeError(path.Root("name"), summary, inUse(name, problem.Revision))
			return
		case "revision_mismatch":
			into.AddError(summary, err.Error()+" Somebody changed it since the plan was made: plan again, and see what differs now.")
			return
		case "unauthenticated", "forbidden":
			into.AddError(summary, err.Error()+" The provider's `token` (FNBRIDGE_TOKEN) is what says who asks.")
			return
		}
		if fields := problem.Fields(); len(fields) > 0 {
			for _, field := range fields {
				addProblem(into, field, summary)
			}
			return
		}
	}
	into.AddError(summary, err.Error())
}

func inUse(name string, revision int64) string {
	return fmt.Sprintf("A pipeline of the name %s is registered already, with revision %d, and %s", name, revision, notHere(name))
}

func secretInUse(found *api.Secret) string {
	return fmt.Sprintf("A secret of the name %s is there already, written by %s at %s, and %s", found.Name, found.ChangedBy, found.Changed, notHere(found.Name))
}

func notHere(name string) string {
	return fmt.Sprintf("is not in this state. If it belongs here, as after an apply that was cut off, `terraform import ADDRESS %s` takes it in; if "+
		"another state has it, choose another name.", name)
}

var errNotConfigured = errors.New("what the provider needs to ask the fleet is not known yet: `url`, `token` or `ca` come from something that is " +
	"not applied")

// addSecretRefusal says why something was not done to a secret.
func addSecretRefusal(into *diag.Diagnostics, name, what string, err error) {
	summary := fmt.Sprintf("%s was not %s", name, what)
	var problem *api.Problem
	if errors.As(err, &problem) && (problem.Field == "name" || problem.Field == "value") {
		attribute := map[string]string{"name": "name", "value": "value_wo"}[problem.Field]
		into.AddAttributeError(path.Root(attribute), summary, problem.Error())
		return
	}
	addRefusal(into, name, what, err)
}
