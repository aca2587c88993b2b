# Each mistake is found before anything is made. A run makes as many at once as there are variables; all of them have to be found.

mock_provider "kubernetes" {}

variables {
  namespace = "streaming"
  image     = "registry.example.com/fnbridge:0.1.0"
  clusters  = { default = { bootstrap_servers = "kafka:9092" } }
  postgres  = { secret = "fnbridge-db-app" }
  tls       = { secret = "fnbridge-tls" }
  access    = { secret = "fnbridge-access" }
}

run "a_name_that_no_object_can_have_an_image_that_changes_by_itself_no_cluster_and_so_on" {
  command = plan

  variables {
    name                  = "Fnbridge_1"
    image                 = "registry.example.com/fnbridge:latest"
    clusters              = {}
    postgres              = { secret = "fnbridge-db-app", ssl_mode = "verify-full" } # by what?
    drain_timeout_seconds = 7200
    port                  = 443
    max_unavailable       = 0
    autoscaling           = { min_replicas = 0, max_replicas = 4, token = { secret = "keda-token" } }
    network_policy        = { from = [{ cidr = "10.0.0.0/8", pod_labels = { app = "x" } }] }
    environment           = { PGPASSWORD = { secret = "x", key = "y" } } # the module's own
    monitoring            = { thresholds = { stuck_seconds = 5 } }
    limits                = { in_flight_bytes = "a lot" }
    telemetry             = { log_level = "loud" }
    access                = null # and no access_values
  }

  expect_failures = [
    var.name, var.image, var.clusters, var.postgres, var.drain_timeout_seconds, var.port, var.max_unavailable, var.autoscaling,
    var.network_policy, var.environment, var.monitoring, var.limits, var.telemetry, var.access_values,
  ]
}

run "a_broker_without_a_port_an_image_without_a_tag_and_so_on" {
  command = plan

  variables {
    clusters       = { default = { bootstrap_servers = "kafka" } }
    image          = "registry.example.com:5000/fnbridge"
    replicas       = 0
    postgres       = { secret = "fnbridge-db-app", ssl_mode = "always" }
    network_policy = { egress = [{ cidr = "kafka.example.com" }] }
    monitoring     = { interval = "often" }
    autoscaling    = { min_replicas = 5, max_replicas = 4, token = { secret = "keda-token" } }
    telemetry      = { otlp_endpoint = "collector:4318" }
  }

  expect_failures = [
    var.clusters, var.image, var.replicas, var.postgres, var.network_policy, var.monitoring, var.autoscaling, var.telemetry,
  ]
}

run "a_password_that_is_not_there" {
  command = plan

  variables {
    clusters = { default = { bootstrap_servers = "kafka:9093", security = { protocol = "sasl_ssl", mechanism = "PLAIN" } } }
  }

  expect_failures = [var.clusters]
}

run "a_mechanism_that_there_is_not" {
  command = plan

  variables {
    clusters = { default = { bootstrap_servers = "kafka:9093", security = { protocol = "sasl_ssl", mechanism = "GSSAPI", credentials = { secret = "kafka" } } } }
  }

  expect_failures = [var.clusters]
}

run "certificates_that_nobody_would_look_at" {
  command = plan

  variables {
    clusters = { default = { bootstrap_servers = "kafka:9092", security = { ca = { secret = "kafka-ca" } } } }
  }

  expect_failures = [var.clusters]
}

run "all_workers_may_be_away" {
  command = plan

  variables {
    max_unavailable = 2
    autoscaling     = { max_replicas = 4, token = { secret = "keda-token" } }
  }

  expect_failures = [kubernetes_stateful_set_v1.workers]
}
