# A fleet on Kubernetes, and one pipeline in it. README.md says what has to be there before.

terraform {
  required_version = ">= 1.11"

  required_providers {
    fnbridge = {
      source  = "fnbridge/fnbridge"
      version = "~> 0.1"
    }
    kubernetes = {
      source  = "hashicorp/kubernetes"
      version = "~> 2.36"
    }
  }
}

provider "kubernetes" {
  config_path    = var.kubeconfig
  config_context = var.context
}

provider "fnbridge" {
  url   = var.fnbridge_url
  token = var.admin_token
}

module "fleet" {
  source = "../../modules/kubernetes"

  namespace = var.namespace
  image     = var.image

  clusters = {
    default = {
      bootstrap_servers = var.bootstrap_servers
      security = {
        protocol    = "sasl_ssl"
        mechanism   = "SCRAM-SHA-512"
        credentials = { secret = "kafka-user" }
        ca          = { secret = "kafka-ca" }
      }
    }
  }

  postgres = {
    secret   = "fnbridge-db-app"
    ssl_mode = "verify-full"
    ca       = { secret = "fnbridge-db-ca" }
  }

  tls = {
    secret = "fnbridge-tls"
    ca_key = "ca.crt"
  }

  access_values = {
    admin_token = var.admin_token
    secrets_key = var.secrets_key
  }

  # The longest time-out of a function, 60 s, and 5 s more.
  drain_timeout_seconds = 65

  worker_labels = { zone = "trusted" }
  resources     = { cpu = "1", memory = "1Gi" }
  limits        = { in_flight_bytes = "256MiB" }
  telemetry     = { otlp_endpoint = "http://collector.observability:4318" }

  network_policy = {
    from = [{ namespace_labels = { "kubernetes.io/metadata.name" = "platform" } }]
  }

  monitoring = {
    labels = { release = "prometheus" }
  }

  autoscaling = {
    max_replicas = 12
    token        = { secret = "fnbridge-keda" }
  }
}

resource "fnbridge_pipeline" "orders" {
  name   = "orders-enrich"
  labels = { team = "payments" }

  source = {
    topics = ["orders"]
  }

  function = {
    url     = "http://enrich.payments.svc:8080/"
    timeout = "60s"
  }

  sinks = [{
    name  = "enriched"
    kafka = { topic = "orders-enriched" }
  }]

  placement = {
    labels = { zone = "trusted" }
  }

  depends_on = [module.fleet]
}
