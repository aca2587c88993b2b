package acceptance

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"fnbridge.dev/terraform-provider-fnbridge/internal/stage"
)

// What Terraform keeps to itself changes in the state alone: no request writes, and what an apply has made known stays known.
func TestTimeoutsAndOffsetsChangeNothingInTheFleet(t *testing.T) {
	proxy := stage.NewProxy(t, worker.URL)
	var writes atomic.Int64
	proxy.Do(func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
		if r.Method != http.MethodGet && r.URL.Path != "/v1/pipelines:check" {
			writes.Add(1)
		}
		pass(w, r)
	})
	of := func(pipelines, secrets string) string {
		return settings(proxy.URL, stage.Token) + pipeline("quiet", `
  function       = { url = "http://127.0.0.1:9/", auth = { type = "bearer", token = { value_wo = "x" } } }
`+pipelines) + fmt.Sprintf(`
resource "fnbridge_secret" "it" {
  name     = "quiet"
  value_wo = "x"
  %s
}`, secrets)
	}
	wrote := func(expected int64) resource.TestCheckFunc {
		return func(*terraform.State) error { return is(writes.Swap(0), expected) }
	}
	both := func(pipeline, secret plancheck.ResourceActionType) resource.ConfigPlanChecks {
		return resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
			plancheck.ExpectResourceAction("fnbridge_pipeline.it", pipeline), plancheck.ExpectResourceAction("fnbridge_secret.it", secret),
		}}
	}
	const noop, update = plancheck.ResourceActionNoop, plancheck.ResourceActionUpdate
	var revision, changed any
	byHand := func() {
		document := worker.Document(t, "quiet")
		document["function"].(object)["auth"].(object)["token"] = "another"
		worker.Ask(t, http.MethodPut, "/v1/pipelines/quiet", document)
	}
	stands := func(*terraform.State) error {
		if err := is(worker.Ask(t, http.MethodGet, "/v1/pipelines/quiet", nil)["revision"], revision); err != nil {
			return err
		}
		return is(changedOf(t, "quiet"), changed)
	}
	steps(t,
		resource.TestStep{Config: of("", ""), Check: wrote(2)},
		resource.TestStep{
			PreConfig: func() {
				revision, changed = worker.Ask(t, http.MethodGet, "/v1/pipelines/quiet", nil)["revision"], changedOf(t, "quiet")
			},
			Config:           of(`timeouts = { create = "1m" }`, `timeouts = { create = "1m" }`),
			ConfigPlanChecks: both(update, update),
			Check: resource.ComposeTestCheckFunc(wrote(0), stands, resource.TestCheckResourceAttr("fnbridge_pipeline.it", "timeouts.create", "1m"),
				resource.TestCheckResourceAttr("fnbridge_secret.it", "timeouts.create", "1m")),
		},
		resource.TestStep{
			Config: of(`delete_offsets = true`, ""), ConfigPlanChecks: both(update, update),
			Check: resource.ComposeTestCheckFunc(wrote(0), stands, resource.TestCheckResourceAttr("fnbridge_pipeline.it", "delete_offsets", "true"),
				resource.TestCheckResourceAttr("fnbridge_pipeline.it", "revision", "1"), resource.TestCheckNoResourceAttr("fnbridge_secret.it", "timeouts")),
		},
		// Along with what the fleet has to know, one request each carries that.
		resource.TestStep{
			Config:           of(`labels = { team = "payments" }`, "value_wo_version = 2"),
			ConfigPlanChecks: both(update, update), Check: wrote(2),
		},
		// Another hand has made a revision, and may have changed what is write-only: that is sent, whatever else differs.
		resource.TestStep{
			PreConfig:        byHand,
			Config:           of("labels = { team = \"payments\" }\n  timeouts = { create = \"1m\" }", "value_wo_version = 2"),
			ConfigPlanChecks: both(update, noop), Check: wrote(1),
		},
	)
}

// A default that is stated by hand is no difference, so a change of what Terraform keeps to itself must not take it away, with a
// restart.
func TestTimeoutsTakeNothingAwayThatAnotherHandStated(t *testing.T) {
	config := settings(worker.URL, stage.Token) + pipeline("stated", "")
	steps(t,
		resource.TestStep{Config: config},
		resource.TestStep{
			PreConfig: func() {
				found := worker.Document(t, "stated")
				found["ordering"] = "partition"
				worker.Ask(t, http.MethodPut, "/v1/pipelines/stated", found)
			},
			Config:           strings.Replace(config, "placement", "timeouts = { read = \"1m\" }\n  placement", 1),
			ConfigPlanChecks: expect(plancheck.ResourceActionUpdate),
			Check: func(*terraform.State) error {
				found := worker.Ask(t, http.MethodGet, "/v1/pipelines/stated", nil)
				if err := is(found["ordering"], "partition"); err != nil {
					return err
				}
				return is(found["revision"], 2.0)
			},
		},
	)
}

// changedOf is when a secret was written last.
func changedOf(t *testing.T, name string) any {
	t.Helper()
	for _, secret := range worker.Ask(t, http.MethodGet, "/v1/secrets", nil)["secrets"].([]any) {
		if secret.(object)["name"] == name {
			return secret.(object)["changed"]
		}
	}
	t.Fatalf("there is no secret of the name %s", name)
	return nil
}
