# A fleet with everything that the examples leave out, so that all of the module's objects are held against the API's schemas.

module "fleet" {
  source = "../../modules/kubernetes"

  name               = "whole"
  namespace          = "streaming"
  image              = "registry.example.com/fnbridge@sha256:${sha256("whole")}"
  image_pull_secrets = ["registry"]
  labels             = { team = "payments" }
  replicas           = 5
  port               = 9470

  clusters = {
    default = {
      bootstrap_servers = "kafka:9093"
      security = {
        protocol        = "ssl"
        ca              = { secret = "kafka", key = "authority.pem" }
        certificate     = { secret = "kafka" }
        verify_hostname = false
      }
      properties         = { "session.timeout.ms" = "20000" }
      dead_letter_topics = ["connect.dead-letter"]
    }
    other-region = {
      bootstrap_servers = "kafka.other:9092"
    }
  }

  postgres = {
    secret = "database"
  }

  tls    = null # a mesh's proxy does it
  access = { secret = "fnbridge" }

  resources       = { cpu = "2", cpu_limit = "4", memory = "2Gi" }
  functions       = { allow = ["10.0.0.0/8"], deny = ["10.9.0.0/16"] }
  environment     = { ORDERS_TOKEN = { secret = "orders", key = "token" } }
  max_unavailable = 2

  service_account_annotations = { "example.com/role" = "fleet" }

  pod = {
    labels              = { mesh = "on" }
    annotations         = { "example.com/mesh" = "on" }
    node_selector       = { pool = "streaming" }
    priority_class_name = "important"
    tolerations         = [{ key = "pool", value = "streaming", effect = "NoSchedule" }]
  }

  network_policy = {
    from   = [{ cidr = "10.1.0.0/16" }, { namespace_labels = { team = "payments" }, pod_labels = { role = "deployer" } }]
    egress = [{ cidr = "10.0.0.0/8", ports = [9092, 9093, 5432] }, { cidr = "10.2.0.0/16" }, { namespace_labels = { "kubernetes.io/metadata.name" = "kafka" }, pod_labels = { app = "kafka" }, ports = [9093] }]
  }
}
