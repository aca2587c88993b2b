// checks is what `terraform/test` needs beside Terraform: stubs of providers, made from what their owners publish, and checks of the
// Kubernetes objects that a plan creates.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"fnbridge.dev/terraform/checks/kube"
	"fnbridge.dev/terraform/checks/metrics"
	"fnbridge.dev/terraform/checks/objects"
	"fnbridge.dev/terraform/checks/schema"
	"fnbridge.dev/terraform/checks/stub"
	"fnbridge.dev/terraform/checks/worker"
)

const usage = `usage:
  checks schema ADDRESS NPM-PACKAGE RESOURCE…           a provider's schema, out of its CDK bindings
  checks kinds FOLDER SWAGGER DEFINITION…               schemas of Kubernetes' kinds and of custom resources
  checks objects PLAN.json SCHEMA.json FOLDER PAGE.md   the objects of a plan against those schemas, their queries against the page
  checks worker PLAN.json SCHEMA.json FNBRIDGE POSTGRES  two pods of a plan as a fleet on this machine; POSTGRES is the folder of initdb`

func main() {
	// Terraform starts the program under a provider's name, from a folder of the mirror.
	if strings.HasPrefix(filepath.Base(os.Args[0]), "terraform-provider-") {
		end(stub.Serve())
	}
	if len(os.Args) < 2 {
		end(fmt.Errorf("%s", usage))
	}
	arguments := os.Args[2:]
	switch {
	case os.Args[1] == "schema" && len(arguments) > 2:
		end(printSchema(arguments[0], arguments[1], arguments[2:]))
	case os.Args[1] == "kinds" && len(arguments) > 1:
		end(kube.WriteSchemas(arguments[0], arguments[1], arguments[2:]))
	case os.Args[1] == "objects" && len(arguments) == 4:
		end(checkObjects(arguments[0], arguments[1], arguments[2], arguments[3]))
	case os.Args[1] == "worker" && len(arguments) == 4:
		end(checkWorker(arguments[0], arguments[1], arguments[2], arguments[3]))
	}
	end(fmt.Errorf("%s", usage))
}

func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func printSchema(address, folder string, resources []string) error {
	provider, err := schema.FromBindings(folder, resources)
	if err != nil {
		return err
	}
	document := schema.Document{FormatVersion: "1.0", Providers: map[string]schema.Provider{address: provider}}
	return json.NewEncoder(os.Stdout).Encode(document)
}

func planned(plan, schemaFile string) ([]objects.Object, error) {
	document, err := schema.Read(schemaFile)
	if err != nil {
		return nil, err
	}
	provider, err := document.Only()
	if err != nil {
		return nil, err
	}
	return objects.FromPlan(plan, provider)
}

func checkWorker(plan, schemaFile, fnbridge, postgres string) error {
	all, err := planned(plan, schemaFile)
	if err != nil {
		return err
	}
	return worker.Check(all, fnbridge, postgres)
}

func checkObjects(plan, schemaFile, kinds, page string) error {
	all, err := planned(plan, schemaFile)
	if err != nil {
		return err
	}
	problems, err := kube.Problems(kinds, all)
	if err != nil {
		return err
	}
	queries, err := metrics.Queries(all)
	if err != nil {
		return err
	}
	known, err := metrics.ReadPage(page)
	if err != nil {
		return err
	}
	problems = append(problems, known.Problems(queries)...)
	alerts, err := metrics.Alerts(all)
	if err != nil {
		return err
	}
	// What does not parse is told of already.
	if len(problems) == 0 {
		if problems, err = metrics.Untrue(alerts); err != nil {
			return err
		}
		namespace, job := metrics.Fleet(alerts)
		empty, err := known.Empty(queries, namespace, job)
		if err != nil {
			return err
		}
		problems = append(problems, empty...)
	}
	if len(all) == 0 {
		problems = append(problems, "found no Kubernetes object in the plan")
	}
	if len(problems) != 0 {
		return fmt.Errorf("%s", strings.Join(problems, "\n"))
	}
	fmt.Printf("%d objects, %d queries, %d alerts\n", len(all), len(queries), len(alerts))
	return nil
}
