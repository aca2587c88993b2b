package acceptance

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"fnbridge.dev/terraform-provider-fnbridge/internal/stage"
)

// Dead letters are counted by how they failed, and a `check` block refuses to go on in silence while they stand.
func TestDeadLettersAreCountedByGroup(t *testing.T) {
	kafka.Topics(t, "refused")
	function := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnprocessableEntity) }))
	t.Cleanup(function.Close)
	of := settings(worker.URL, stage.Token) + fmt.Sprintf(`resource "fnbridge_pipeline" "it" {
  name     = "refused"
  source   = { topics = ["refused"] }
  function = { url = %q, headers = { x-team = { value = "payments" }, x-key = { env = "FNBRIDGE_TEST_A" } } }
}
`, function.URL)
	asked := of + `
data "fnbridge_dead_letters" "it" {
  pipeline = fnbridge_pipeline.it.name
  status   = 422
}
data "fnbridge_dead_letters" "none" {
  pipeline = fnbridge_pipeline.it.name
  status   = 500
}
data "fnbridge_pipeline" "it" { name = fnbridge_pipeline.it.name }
data "fnbridge_fleet" "it" {}
`
	letters, none := "data.fnbridge_dead_letters.it", "data.fnbridge_dead_letters.none"
	steps(t,
		resource.TestStep{Config: of},
		resource.TestStep{
			PreConfig: func() {
				kafka.Produce(t, "refused", "1", "2")
				stage.Await(t, "two dead letters", func() bool {
					groups := worker.Ask(t, http.MethodGet, "/v1/dead-letters:groups?pipeline=refused", nil)["groups"].([]any)
					return len(groups) == 1 && groups[0].(object)["count"] == 2.0
				})
			},
			Config: asked,
			Check: resource.ComposeAggregateTestCheckFunc(
				resource.TestCheckResourceAttr(letters, "total", "2"),
				resource.TestCheckResourceAttr(letters, "complete", "true"),
				resource.TestCheckResourceAttr(letters, "groups.#", "1"),
				resource.TestCheckResourceAttr(letters, "groups.0.count", "2"),
				resource.TestCheckResourceAttr(letters, "groups.0.sample.stage", "function"),
				resource.TestCheckResourceAttr(letters, "groups.0.sample.status", "422"),
				resource.TestCheckResourceAttr(letters, "groups.0.histogram.#", "24"),
				resource.TestCheckResourceAttr(none, "total", "0"),
				resource.TestCheckResourceAttr("data.fnbridge_pipeline.it", "status.phase", "running"),
				resource.TestCheckResourceAttr("data.fnbridge_pipeline.it", "status.held_by", "store"),
				resource.TestCheckResourceAttr("data.fnbridge_pipeline.it", "function.headers.x-team.value", "payments"),
				resource.TestCheckResourceAttr("data.fnbridge_pipeline.it", "function.headers.x-key.env", "FNBRIDGE_TEST_A"),
				resource.TestCheckResourceAttr("data.fnbridge_fleet.it", "workers.#", "1"),
				resource.TestCheckResourceAttr("data.fnbridge_fleet.it", "workers.0.version", stage.Version),
				resource.TestCheckTypeSetElemNestedAttrs("data.fnbridge_fleet.it", "pipelines.*", map[string]string{"name": "refused", "state": "running"}),
			),
		},
		resource.TestStep{
			Config:      of + `data "fnbridge_dead_letters" "it" { since = "yesterday" }`,
			ExpectError: said(`found "yesterday", expected a time such as`),
		},
		resource.TestStep{
			Config:      of + `data "fnbridge_pipeline" "it" { name = "of-nobody" }`,
			ExpectError: said(`found no pipeline named "of-nobody"`),
		},
	)
}

// Whoever may only look plans what whoever may change has applied: nothing.
func TestViewerPlansNothingWhereNothingDiffers(t *testing.T) {
	made := worker.Ask(t, http.MethodPost, "/v1/tokens", object{"name": "looks", "role": "viewer"})
	written := pipeline("looked-at", `
  function = {
    url     = "http://127.0.0.1:9/"
    headers = { x-team = { value = "payments" } }
    auth    = { type = "bearer", token = { value_wo = "`+secretText+`" } }
  }`)
	viewed := settings(worker.URL, made["secret"].(string)) + written
	steps(t,
		resource.TestStep{Config: settings(worker.URL, stage.Token) + written},
		resource.TestStep{Config: viewed, PlanOnly: true},
		resource.TestStep{Config: strings.Replace(viewed, `"unread"`, `"unread-too"`, 1), ExpectError: said("The provider's `token`")},
		resource.TestStep{Config: settings(worker.URL, stage.Token) + written},
	)
}

// A secret that a document holds as text is in the state of nobody who reads it.
func TestPipelineThatIsReadTellsNoSecret(t *testing.T) {
	worker.Ask(t, http.MethodPut, "/v1/pipelines/told", object{
		"name": "told", "source": object{"topics": []any{"t"}}, "state": "paused", "placement": object{"labels": object{"nowhere": "yes"}},
		"function": object{"url": "http://127.0.0.1:9/", "auth": object{"type": "bearer", "token": secretText}},
	})
	terraform := begun(t, worker.URL, `data "fnbridge_pipeline" "it" { name = "told" }
output "auth" { value = data.fnbridge_pipeline.it.function.auth.type }
`)
	noSecret(t, terraform.Run(t, "apply", "-input=false", "-auto-approve"))
	for _, content := range terraform.Left(t) {
		noSecret(t, content)
	}
	if found := terraform.Run(t, "output", "-raw", "auth"); found != "bearer" {
		t.Fatalf("found %q", found)
	}
}
