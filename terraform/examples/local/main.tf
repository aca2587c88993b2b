# A function on a topic, against a worker on this machine:
#
#   fnbridge serve --config fnbridge.yaml
#   terraform init && terraform apply

terraform {
  required_version = ">= 1.11"
  required_providers {
    fnbridge = {
      source  = "fnbridge/fnbridge"
      version = "~> 0.1"
    }
  }
}

# FNBRIDGE_URL and FNBRIDGE_TOKEN say where the fleet is and who asks; without them, it is a worker on this machine.
provider "fnbridge" {}

resource "fnbridge_secret" "function_key" {
  name             = "${var.name}-key"
  value_wo         = var.function_key
  value_wo_version = var.function_key_version
}

resource "fnbridge_pipeline" "enrich" {
  name   = var.name
  labels = { team = "orders" }
  source = { topics = [var.topic] }
  function = {
    url     = var.function_url
    timeout = "10s"
    auth    = { type = "bearer", token = { secret = fnbridge_secret.function_key.name } }
  }
  retry = { max_attempts = 3 }
  sinks = [{ name = "enriched", kafka = { topic = var.results } }]
}

data "fnbridge_dead_letters" "waiting" {
  pipeline = fnbridge_pipeline.enrich.name
}

# Says on each plan and apply that dead letters wait for somebody. A data source inside of it would leave no plan empty.
check "no_dead_letters" {
  assert {
    condition     = data.fnbridge_dead_letters.waiting.total == 0
    error_message = "${data.fnbridge_dead_letters.waiting.total} dead letters wait: fnbridge dlq groups ${var.name}"
  }
}
