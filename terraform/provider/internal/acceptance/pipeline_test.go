package acceptance

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"fnbridge.dev/terraform-provider-fnbridge/internal/stage"
)

// settings are a provider block for this fleet.
func settings(url, token string) string {
	return fmt.Sprintf("provider \"fnbridge\" {\n  url   = %q\n  token = %q\n}\n", url, token)
}

// pipeline is one that no worker runs, with more of its attributes.
func pipeline(name, more string) string {
	if !strings.Contains(more, "function") && !strings.Contains(more, "sinks") {
		more += "\n  sinks = [{ stdout = {} }]"
	}
	return fmt.Sprintf(`resource "fnbridge_pipeline" "it" {
  name      = %q
  source    = { topics = ["unread"] }
  placement = { labels = { nowhere = "yes" } }
  %s
}
`, name, more)
}

// said matches a text however Terraform breaks its lines.
func said(text string) *regexp.Regexp {
	words := strings.Fields(text)
	for at, word := range words {
		words[at] = regexp.QuoteMeta(word)
	}
	return regexp.MustCompile(strings.Join(words, `[\s│|]+`))
}

func steps(t *testing.T, all ...resource.TestStep) {
	t.Helper()
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories, Steps: all})
}

func expect(action plancheck.ResourceActionType) resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction("fnbridge_pipeline.it", action)}}
}

func TestPipelineIsImportedByItsName(t *testing.T) {
	config := settings(worker.URL, stage.Token) + pipeline("imported", `
  ordering = "partition"
  filter   = "value.amount > 0"
  function = { url = "http://127.0.0.1:9/", headers = { x-team = { value = "payments" } }, auth = { type = "bearer", token = { env = "FNBRIDGE_TEST_A" } } }
  sinks    = [{ name = "a", kafka = { topic = "b" } }, { stdout = {} }]`)
	steps(t,
		resource.TestStep{Config: config},
		resource.TestStep{
			Config: config, ResourceName: "fnbridge_pipeline.it", ImportState: true, ImportStateId: "imported",
			ImportStateVerify: true, ImportStateVerifyIdentifierAttribute: "name",
		},
		resource.TestStep{
			Config: config, ResourceName: "fnbridge_pipeline.it", ImportState: true, ImportStateId: "of-nobody",
			ExpectError: said(`found no pipeline named "of-nobody"`),
		},
	)
}

func TestPipelineDeletedOutOfBandIsCreatedAgain(t *testing.T) {
	config := settings(worker.URL, stage.Token) + pipeline("deleted", "")
	steps(t,
		resource.TestStep{Config: config},
		resource.TestStep{
			PreConfig:        func() { worker.Ask(t, http.MethodDelete, "/v1/pipelines/deleted", nil) },
			Config:           config,
			ConfigPlanChecks: expect(plancheck.ResourceActionCreate),
		},
	)
}

func TestDriftIsShownAndMendedAndWhatMeansTheSameIsNone(t *testing.T) {
	config := settings(worker.URL, stage.Token) + pipeline("drifted", `retry = { max_attempts = 4 }`)
	by := func(change func(object)) func() {
		return func() {
			document := worker.Document(t, "drifted")
			change(document)
			worker.Ask(t, http.MethodPut, "/v1/pipelines/drifted", document)
		}
	}
	steps(t,
		resource.TestStep{Config: config},
		resource.TestStep{
			PreConfig: by(func(document object) { document["retry"] = object{"max_attempts": 9} }),
			Config:    config, ConfigPlanChecks: expect(plancheck.ResourceActionUpdate),
		},
		resource.TestStep{
			PreConfig: by(func(document object) {
				document["retry"], document["ordering"] = object{"max_attempts": 4, "max_age": nil}, "partition"
			}),
			Config: config, ConfigPlanChecks: expect(plancheck.ResourceActionNoop),
		},
	)
}

// What is write-only can't be compared: a revision by another hand has it sent again.
func TestLiteralSecretChangedByHandIsMended(t *testing.T) {
	config := settings(worker.URL, stage.Token) + pipeline("literal", `
  function           = { url = "http://127.0.0.1:9/", auth = { type = "bearer", token = { value_wo = "`+secretText+`" } } }
  secrets_wo_version = 1`)
	path := "/v1/pipelines/literal"
	token := func() any {
		function := worker.Ask(t, http.MethodGet, path, nil)["function"].(object)
		return function["auth"].(object)["token"]
	}
	steps(t,
		resource.TestStep{Config: config, Check: func(*terraform.State) error { return is(token(), secretText) }},
		resource.TestStep{
			PreConfig: func() {
				document := worker.Document(t, "literal")
				document["function"].(object)["auth"].(object)["token"] = "another"
				worker.Ask(t, http.MethodPut, path, document)
			},
			Config: config, ConfigPlanChecks: expect(plancheck.ResourceActionUpdate),
			Check: func(*terraform.State) error { return is(token(), secretText) },
		},
	)
}

func is(found, expected any) error {
	if found != expected {
		return fmt.Errorf("found %v, expected %v", found, expected)
	}
	return nil
}

func TestSecretThatAnotherHandWroteIsWrittenAnew(t *testing.T) {
	config := settings(worker.URL, stage.Token) + `
resource "fnbridge_secret" "it" {
  name     = "rewritten"
  value_wo = "a"
}`
	steps(t,
		resource.TestStep{Config: config},
		resource.TestStep{
			PreConfig: func() { worker.Ask(t, http.MethodPut, "/v1/secrets/rewritten", object{"value": "b"}) },
			Config:    config,
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				plancheck.ExpectResourceAction("fnbridge_secret.it", plancheck.ResourceActionUpdate),
			}},
		},
		resource.TestStep{
			Config:      config + strings.NewReplacer(`"it"`, `"again"`).Replace("\n"+config[strings.Index(config, "resource"):]),
			ExpectError: said("A secret of the name rewritten is there already"),
		},
	)
}

func TestProblemsStandAtTheirAttributeByTheSchemaAndByTheFleet(t *testing.T) {
	of := settings(worker.URL, stage.Token)
	steps(t,
		resource.TestStep{
			Config: of + pipeline("bad", `
  ordering = "sideways"
  retry    = { max_attempts = 0, max_age = "soon" }
  sinks    = [{ http = { url = "http://127.0.0.1:9/", headers = { a = { env = "A", value = "b" } } } }]`),
			ExpectError: said(`ordering: found "sideways", expected one of partition, key, none`),
		},
		resource.TestStep{
			Config:      of + pipeline("bad", `sinks = [{ http = { url = "http://127.0.0.1:9/", headers = { a = { env = "A", value = "b" } } } }]`),
			ExpectError: said(`sinks[0].http.headers.a: found env and value, expected one of`),
		},
		resource.TestStep{
			Config:      of + pipeline("bad", `filter = "value.amount >"`),
			ExpectError: regexp.MustCompile(`filter = "value.amount >"(?s:.*)filter: `),
		},
		resource.TestStep{
			Config:      of + pipeline("bad", `function = { url = "http://127.0.0.1:9/", auth = { type = "bearer", token = { secret = "of-nobody" } } }`),
			ExpectError: said(`function.auth.token: found no secret named of-nobody`),
		},
		resource.TestStep{Config: of + pipeline("Bad_Name", ""), ExpectError: said(`name: found "Bad_Name", expected 1 to 63 of a-z`)},
	)
}

func TestNameInUseIsSaidWhenPlannedAndNothingIsChanged(t *testing.T) {
	worker.Ask(t, http.MethodPut, "/v1/pipelines/of-another-state", object{
		"name": "of-another-state", "source": object{"topics": []any{"t"}}, "state": "paused", "sinks": []any{object{"stdout": object{}}},
	})
	steps(t, resource.TestStep{
		Config:      settings(worker.URL, stage.Token) + pipeline("of-another-state", ""),
		ExpectError: said("A pipeline of the name of-another-state is registered already, with revision 1"),
	})
	if found := worker.Ask(t, http.MethodGet, "/v1/pipelines/of-another-state", nil); found["revision"] != 1.0 {
		t.Fatalf("found %v", found)
	}
}

func TestWrongURLAndWrongTokenSayWhatToDo(t *testing.T) {
	stranger := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(stranger.Close)
	refused := func(url, token, says string) resource.TestStep {
		return resource.TestStep{Config: settings(url, token) + pipeline("p", `timeouts = { create = "1s" }`), ExpectError: said(says)}
	}
	steps(t,
		refused("ftp://nowhere", "", `found the URL "ftp://nowhere", expected one such as`),
		refused("http://127.0.0.1:1", "", `Is a worker with the role control running, and is this its`),
		refused(stranger.URL, "", `found status 404 with text/plain, expected the API of fnbridge`),
		refused(worker.URL, "nobodys-token", "The provider's `token` (FNBRIDGE_TOKEN) is what says who asks"),
	)
}

// The state outlives a worker that is away, in plan, apply and refresh; then the next plan is empty.
func TestWorkerThatIsAwayLosesNothingOfTheState(t *testing.T) {
	proxy := stage.NewProxy(t, worker.URL)
	away := stage.Around(func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) { w.WriteHeader(http.StatusBadGateway) })
	config := settings(proxy.URL, stage.Token) + pipeline("away", `timeouts = { create = "1s", read = "1s", update = "1s", delete = "1s" }`)
	changed := strings.Replace(config, `"unread"`, `"unread-too"`, 1)
	steps(t,
		resource.TestStep{Config: config},
		resource.TestStep{PreConfig: func() { proxy.Do(away) }, Config: config, ExpectError: said("away was not read")},
		resource.TestStep{
			PreConfig: func() {
				proxy.Do(func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
					if r.Method == http.MethodPut {
						away(w, r, pass)
						return
					}
					pass(w, r)
				})
			},
			Config: changed, ExpectError: said("away was not changed"),
		},
		resource.TestStep{PreConfig: func() { proxy.Do(nil) }, Config: config, ConfigPlanChecks: expect(plancheck.ResourceActionNoop)},
	)
}

// A create that nobody answers may have happened: what is ours is known again, and what is not is left alone.
func TestLostAnswerToCreateLeavesNoOrphan(t *testing.T) {
	proxy := stage.NewProxy(t, worker.URL)
	var lost atomic.Int64
	lose := func(times int64) func() {
		return func() {
			lost.Store(times)
			proxy.Do(func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
				if r.Method == http.MethodPut && lost.Add(-1) >= 0 {
					stage.Lose(w, r, pass)
				}
				pass(w, r)
			})
		}
	}
	config := settings(proxy.URL, stage.Token) + pipeline("lost", `timeouts = { create = "3s" }`)
	steps(t,
		resource.TestStep{PreConfig: lose(1), Config: config, Check: resource.TestCheckResourceAttr("fnbridge_pipeline.it", "revision", "1")},
		resource.TestStep{PreConfig: lose(1), Config: config, Taint: []string{"fnbridge_pipeline.it"}},
		// No answer comes at all: it is known as unconfirmed, and replaced.
		resource.TestStep{Config: settings(proxy.URL, stage.Token)},
		resource.TestStep{PreConfig: lose(1000), Config: config, ExpectError: said("the pipeline may be registered or not")},
		resource.TestStep{PreConfig: func() { proxy.Do(nil) }, Config: config, ConfigPlanChecks: expect(plancheck.ResourceActionReplace)},
	)
	if status := worker.Status(t, "/v1/pipelines/lost"); status != http.StatusNotFound {
		t.Fatalf("left behind: status %d", status)
	}
}

// Somebody else takes the name while the answer is lost: theirs is left as it is.
func TestPipelineOfAnotherHandIsNotAdopted(t *testing.T) {
	proxy := stage.NewProxy(t, worker.URL)
	theirs := object{"name": "taken", "source": object{"topics": []any{"theirs"}}, "state": "paused", "sinks": []any{object{"stdout": object{}}}}
	steps(t, resource.TestStep{
		PreConfig: func() {
			var once atomic.Bool
			proxy.Do(func(w http.ResponseWriter, r *http.Request, pass http.HandlerFunc) {
				if r.Method == http.MethodPut && once.CompareAndSwap(false, true) {
					worker.Ask(t, http.MethodPut, "/v1/pipelines/taken", theirs)
					panic(http.ErrAbortHandler)
				}
				pass(w, r)
			})
		},
		Config:      settings(proxy.URL, stage.Token) + pipeline("taken", ""),
		ExpectError: said("A pipeline of the name taken is registered already"),
	})
	found := worker.Ask(t, http.MethodGet, "/v1/pipelines/taken", nil)
	if err := is(found["source"].(object)["topics"].([]any)[0], "theirs"); err != nil {
		t.Fatal(err)
	}
}

// A document that a newer fnbridge has written holds what this version does not know: it is said, and nothing of it is overwritten.
func TestDocumentOfANewerVersionIsNotOverwritten(t *testing.T) {
	proxy := stage.NewProxy(t, worker.URL)
	config := settings(proxy.URL, stage.Token) + pipeline("newer", "")
	steps(t,
		resource.TestStep{Config: config},
		resource.TestStep{
			PreConfig: func() { proxy.Do(stage.Newer) },
			Config:    strings.Replace(config, `"unread"`, `"unread-too"`, 1), ExpectError: said("newer was not changed"),
		},
		resource.TestStep{Config: config, ConfigPlanChecks: expect(plancheck.ResourceActionNoop)},
	)
}

// Records are on the wire when the pipeline is destroyed: they are waited for; and where time is up, that is said and nothing is lost.
func TestDestroyDrains(t *testing.T) {
	kafka.Topics(t, "drained", "drained-results")
	function, release := slowFunction(t)
	config := func(within string) string {
		return settings(worker.URL, stage.Token) + fmt.Sprintf(`resource "fnbridge_pipeline" "it" {
  name           = "drained"
  source         = { topics = ["drained"] }
  function       = { url = %q }
  sinks          = [{ kafka = { topic = "drained-results" } }]
  delete_offsets = true
  timeouts       = { delete = %q }
}`, function, within)
	}
	inFlight := func() bool { return onTheWire(t, "drained") }
	steps(t,
		resource.TestStep{Config: config("1s")},
		resource.TestStep{
			PreConfig: func() {
				kafka.Produce(t, "drained", "1")
				stage.Await(t, "a record on the wire", inFlight)
			},
			Config: config("1s"), Destroy: true, ExpectError: said("1 record is still on the wire. The pipeline is paused and stays registered"),
		},
		resource.TestStep{Config: config("1m")},
		resource.TestStep{
			PreConfig: func() {
				stage.Await(t, "a record on the wire", inFlight)
				time.AfterFunc(3*time.Second, release)
			},
			Config: config("1m"), Destroy: true,
		},
	)
	kafka.Await(t, "drained-results", 1)
	if status := worker.Status(t, "/v1/pipelines/drained"); status != http.StatusNotFound {
		t.Fatalf("left behind: status %d", status)
	}
	stage.Await(t, "the group's end", func() bool { return !strings.Contains(strings.Join(kafka.Groups(t), " "), "fnbridge-drained") })
}
