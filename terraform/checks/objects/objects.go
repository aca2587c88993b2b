// Package objects has the Kubernetes objects that a plan creates, as the API takes them.
package objects

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"fnbridge.dev/terraform/checks/schema"
)

// Object is one that is created.
type Object struct {
	Address string
	Value   map[string]any
}

// Kind is its kind.
func (o Object) Kind() string {
	kind, _ := o.Value["kind"].(string)
	return kind
}

type planned struct {
	PlannedValues struct {
		RootModule module `json:"root_module"`
	} `json:"planned_values"`
}

type module struct {
	Resources []resource `json:"resources"`
	Children  []module   `json:"child_modules"`
}

type resource struct {
	Address string         `json:"address"`
	Mode    string         `json:"mode"`
	Type    string         `json:"type"`
	Values  map[string]any `json:"values"`
}

func (m module) all() []resource {
	resources := m.Resources
	for _, child := range m.Children {
		resources = append(resources, child.all()...)
	}
	return resources
}

// FromPlan reads what `terraform show -json PLAN` prints. What only the provider knows is left out.
func FromPlan(file string, provider schema.Provider) ([]Object, error) {
	resources, err := created(file)
	if err != nil {
		return nil, err
	}
	var objects []Object
	for _, resource := range resources {
		value, err := object(resource, provider)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", resource.Address, err)
		}
		objects = append(objects, Object{resource.Address, value})
	}
	sort.Slice(objects, func(a, b int) bool { return objects[a].Address < objects[b].Address })
	return objects, nil
}

func created(file string) ([]resource, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var plan planned
	if err := json.Unmarshal(text, &plan); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var ours []resource
	for _, resource := range plan.PlannedValues.RootModule.all() {
		if resource.Mode == "managed" && strings.HasPrefix(resource.Type, "kubernetes_") {
			ours = append(ours, resource)
		}
	}
	return ours, nil
}

// kinds are the API's names of the resources that modules use.
var kinds = map[string][2]string{
	"kubernetes_config_map_v1":            {"v1", "ConfigMap"},
	"kubernetes_network_policy_v1":        {"networking.k8s.io/v1", "NetworkPolicy"},
	"kubernetes_pod_disruption_budget_v1": {"policy/v1", "PodDisruptionBudget"},
	"kubernetes_secret_v1":                {"v1", "Secret"},
	"kubernetes_service_account_v1":       {"v1", "ServiceAccount"},
	"kubernetes_service_v1":               {"v1", "Service"},
	"kubernetes_stateful_set_v1":          {"apps/v1", "StatefulSet"},
}

// terraformOnly are arguments that speak to the provider.
var terraformOnly = map[string]bool{
	"id": true, "timeouts": true, "wait_for_rollout": true, "wait_for_load_balancer": true, "wait_for_service_account_token": true,
	"data_wo": true, "data_wo_revision": true, "binary_data_wo": true, "binary_data_wo_revision": true, "default_secret_name": true,
}

func object(resource resource, provider schema.Provider) (map[string]any, error) {
	if resource.Type == "kubernetes_manifest" {
		manifest, found := resource.Values["manifest"].(map[string]any)
		if !found {
			return nil, fmt.Errorf("found no manifest that is known before it is applied")
		}
		return manifest, nil
	}
	kind, known := kinds[resource.Type]
	if !known {
		return nil, fmt.Errorf("%s has no kind here: name it in terraform/checks/objects", resource.Type)
	}
	described, known := provider.Resources[resource.Type]
	if !known {
		return nil, fmt.Errorf("%s has no schema here", resource.Type)
	}
	value := converted(described.Block, resource.Values)
	for name := range terraformOnly {
		delete(value, camel(name))
	}
	value["apiVersion"], value["kind"] = kind[0], kind[1]
	return value, nil
}

// converted is a block as the API has it: camel case, lists in the plural, no list where there is at most one.
func converted(block schema.Block, values map[string]any) map[string]any {
	to := map[string]any{}
	for name := range block.Attributes {
		value := values[name]
		if isEmpty(value) {
			continue
		}
		to[camel(name)] = number(name, value)
	}
	for name, nested := range block.Blocks {
		items, isList := values[name].([]any)
		if !isList || len(items) == 0 {
			continue
		}
		var all []any
		for _, item := range items {
			fields, _ := item.(map[string]any)
			all = append(all, converted(nested.Block, fields))
		}
		if nested.MaxItems == 1 || firstOnly[name] {
			to[camel(name)] = all[0]
			continue
		}
		to[plural(camel(name))] = all
	}
	return to
}

// firstOnly are blocks that may be repeated by the schema, of which the provider takes the first.
var firstOnly = map[string]bool{"label_selector": true, "rolling_update": true, "update_strategy": true}

func isEmpty(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case string:
		return value == ""
	case []any:
		return len(value) == 0
	case map[string]any:
		return len(value) == 0
	}
	return false
}

// intOrText are arguments that Terraform has as text and the API as a number, where they are one.
var intOrText = map[string]bool{
	"max_unavailable": true, "min_available": true, "port": true, "replicas": true, "target_port": true,
	"run_as_user": true, "run_as_group": true, "fs_group": true,
}

func number(name string, value any) any {
	text, isText := value.(string)
	if !isText {
		return value
	}
	if name == "default_mode" || name == "mode" {
		if mode, err := strconv.ParseInt(text, 8, 32); err == nil {
			return mode
		}
	}
	if intOrText[name] {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	}
	return value
}

var afterUnderscore = regexp.MustCompile(`_[a-z]`)

func camel(name string) string {
	switch name {
	case "cluster_ip":
		return "clusterIP"
	case "cluster_ips":
		return "clusterIPs"
	}
	return afterUnderscore.ReplaceAllStringFunc(name, func(at string) string { return strings.ToUpper(at[1:]) })
}

// plurals are lists of blocks whose name is in the singular, as each block is one.
var plurals = map[string]string{
	"container": "containers", "initContainer": "initContainers", "port": "ports", "toleration": "tolerations", "volume": "volumes",
	"volumeMount": "volumeMounts", "volumeClaimTemplate": "volumeClaimTemplates", "topologySpreadConstraint": "topologySpreadConstraints",
	"httpHeader": "httpHeaders", "imagePullSecret": "imagePullSecrets", "secretRef": "secrets",
}

func plural(name string) string {
	if many, found := plurals[name]; found {
		return many
	}
	return name
}
