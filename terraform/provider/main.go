// The Terraform provider of fnbridge: a fleet's pipelines and secrets as code.
package main

import (
	"context"
	"flag"
	"log"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"

	"fnbridge.dev/terraform-provider-fnbridge/internal/provider"
)

//go:generate go tool tfplugindocs generate --provider-name fnbridge

// Set by the linker when a release is built.
var version = "0.1.0"

func main() {
	debug := flag.Bool("debug", false, "wait for a debugger, and print how Terraform reaches this process")
	flag.Parse()
	options := providerserver.ServeOpts{Address: "registry.terraform.io/fnbridge/fnbridge", Debug: *debug, ProtocolVersion: 6}
	if err := providerserver.Serve(context.Background(), provider.New(version), options); err != nil {
		log.Fatal(err)
	}
}
