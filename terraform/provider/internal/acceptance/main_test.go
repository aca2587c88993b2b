// Package acceptance runs the provider as its users do: by Terraform, against a real worker on a real Kafka.
package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"fnbridge.dev/terraform-provider-fnbridge/internal/provider"
	"fnbridge.dev/terraform-provider-fnbridge/internal/stage"
)

var (
	kafka  *stage.Kafka
	worker *stage.Worker
	// mirrored is a folder with the provider as `stage.Mirror` lays it out.
	mirrored string
)

const required = `
terraform {
  required_providers {
    fnbridge = { source = "fnbridge/fnbridge" }
  }
}
`

// begun is a working folder with this configuration, for the fleet behind the URL.
func begun(t *testing.T, url, config string) *stage.Terraform {
	t.Helper()
	terraform := stage.NewTerraform(t, mirrored, "FNBRIDGE_URL="+url, "FNBRIDGE_TOKEN="+stage.Token)
	terraform.Write(t, "main.tf", required+config)
	terraform.Run(t, "init", "-input=false")
	return terraform
}

var factories = map[string]func() (tfprotov6.ProviderServer, error){
	"fnbridge": providerserver.NewProtocol6WithError(provider.New(stage.Version)()),
}

func TestMain(m *testing.M) {
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		status = 1
	}
	os.Exit(status)
}

func run(m *testing.M) (status int, err error) {
	if err := stage.Missing(); err != nil {
		return 1, err
	}
	if mirrored, err = os.MkdirTemp("", "fnbridge-terraform-mirror-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(mirrored)
	built := make(chan error, 1)
	go func() { built <- stage.Mirror(mirrored) }()
	if kafka, err = stage.StartKafka(); err != nil {
		return 1, err
	}
	defer kafka.Stop()
	if worker, err = stage.NewWorker(kafka.Bootstrap); err != nil {
		return 1, err
	}
	defer worker.Remove()
	if err := <-built; err != nil {
		return 1, err
	}
	// What is set where the tests run must not reach what they test.
	for _, name := range []string{"FNBRIDGE_URL", "FNBRIDGE_TOKEN", "FNBRIDGE_CA", "TF_CLI_CONFIG_FILE"} {
		os.Unsetenv(name)
	}
	os.Setenv("TF_CLI_CONFIG_FILE", filepath.Join(mirrored, "terraform.rc"))
	os.Setenv("CHECKPOINT_DISABLE", "1")
	return m.Run(), nil
}
