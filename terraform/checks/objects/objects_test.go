package objects

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"fnbridge.dev/terraform/checks/schema"
)

const plan = `{"planned_values": {"root_module": {"child_modules": [{"resources": [
  {"address": "module.m.kubernetes_pod_disruption_budget_v1.x", "mode": "managed", "type": "kubernetes_pod_disruption_budget_v1", "values": {
    "id": "x", "metadata": [{"name": "x", "labels": {}, "annotations": null}],
    "spec": [{"max_unavailable": "1", "selector": [{"match_labels": {"app": "x"}}]}]}},
  {"address": "module.m.kubernetes_manifest.y", "mode": "managed", "type": "kubernetes_manifest", "values": {"manifest": {"kind": "Y"}}},
  {"address": "module.m.alicloud_ram_role.z", "mode": "managed", "type": "alicloud_ram_role", "values": {}}
]}]}}}`

func one(block schema.Block) schema.NestedBlock {
	return schema.NestedBlock{Nesting: "list", MaxItems: 1, Block: block}
}

func attributes(names ...string) map[string]schema.Attribute {
	all := map[string]schema.Attribute{}
	for _, name := range names {
		all[name] = schema.Attribute{}
	}
	return all
}

func TestAPlansObjectsAreAsTheAPITakesThem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(file, []byte(plan), 0o600); err != nil {
		t.Fatal(err)
	}
	provider := schema.Provider{Resources: map[string]schema.Entry{"kubernetes_pod_disruption_budget_v1": {Block: schema.Block{
		Attributes: attributes("id"),
		Blocks: map[string]schema.NestedBlock{
			"metadata": one(schema.Block{Attributes: attributes("name", "labels", "annotations")}),
			"spec": one(schema.Block{
				Attributes: attributes("max_unavailable"),
				Blocks:     map[string]schema.NestedBlock{"selector": one(schema.Block{Attributes: attributes("match_labels")})},
			}),
		},
	}}}}
	found, err := FromPlan(file, provider)
	if err != nil {
		t.Fatal(err)
	}
	expected := []Object{
		{"module.m.kubernetes_manifest.y", map[string]any{"kind": "Y"}},
		{"module.m.kubernetes_pod_disruption_budget_v1.x", map[string]any{
			"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
			"metadata": map[string]any{"name": "x"},
			"spec":     map[string]any{"maxUnavailable": int64(1), "selector": map[string]any{"matchLabels": map[string]any{"app": "x"}}},
		}},
	}
	if !reflect.DeepEqual(found, expected) {
		text, _ := json.Marshal(found)
		t.Errorf("found %s", text)
	}
}
