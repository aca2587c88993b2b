# Each mistake is found before anything is made. A run makes as many at once as there are variables; all of them have to be found. Those of variables that
# are held against others have runs of their own: where the others are wrong, nothing is held against them.

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
    network_policy        = { from = [{ cidr = "10.0.0.0/8", pod_labels = { app = "x" } }] }
    environment           = { PGPASSWORD = { secret = "x", key = "y" } } # the module's own
    monitoring            = { thresholds = { stuck_seconds = 5 } }
    limits                = { in_flight_bytes = "a lot" }
    telemetry             = { log_level = "loud" }
    access                = null # and no access_values
  }

  expect_failures = [
    var.name, var.image, var.clusters, var.postgres, var.drain_timeout_seconds, var.port,
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
    telemetry      = { otlp_endpoint = "collector:4318" }
  }

  expect_failures = [
    var.clusters, var.image, var.replicas, var.postgres, var.network_policy, var.monitoring, var.telemetry,
  ]
}

run "a_fleet_without_a_worker" {
  command = plan

  variables {
    autoscaling = { min_replicas = 0, max_replicas = 4, token = { secret = "keda-token" } }
  }

  expect_failures = [var.autoscaling]
}

run "fewer_workers_than_there_are_to_be_at_least" {
  command = plan

  variables {
    autoscaling = { min_replicas = 5, max_replicas = 4, token = { secret = "keda-token" } }
  }

  expect_failures = [var.autoscaling]
}

run "no_worker_may_be_away" {
  command = plan

  variables {
    max_unavailable = 0
  }

  expect_failures = [var.max_unavailable]
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

  expect_failures = [var.max_unavailable]
}

run "all_workers_may_be_away_where_no_autoscaler_adds_any" {
  command = plan

  variables {
    replicas        = 2
    max_unavailable = 2
  }

  expect_failures = [var.max_unavailable]
}

run "a_worker_that_would_be_killed_for_want_of_memory" {
  command = plan

  variables {
    resources = { memory = "512Mi" }
    limits    = { in_flight_bytes = "256 MiB" }
  }

  expect_failures = [kubernetes_stateful_set_v1.workers]
}

run "a_cpu_and_networks_that_are_none" {
  command = plan

  variables {
    resources = { cpu = "half" }
    functions = { allow = ["fn.example.com"] }
  }

  expect_failures = [var.resources, var.functions]
}

run "a_memory_that_is_none_and_egress_to_nowhere" {
  command = plan

  variables {
    resources               = { memory = "plenty" }
    network_policy          = { egress = [{ ports = [9092] }] }
    session_timeout_seconds = 3
  }

  expect_failures = [var.resources, var.network_policy, var.session_timeout_seconds]
}

run "workers_that_go_before_those_that_went_have_left_their_groups" {
  command = plan

  variables {
    drain_timeout_seconds = 90
    autoscaling           = { max_replicas = 4, token = { secret = "keda-token" } }
  }

  expect_failures = [var.autoscaling]
}

run "an_autoscaler_that_waits_for_longer_than_kubernetes_lets_it" {
  command = plan

  variables {
    autoscaling = { max_replicas = 4, scale_down_after_seconds = 7200, token = { secret = "keda-token" } }
  }

  expect_failures = [var.autoscaling]
}

run "a_token_that_is_too_short" {
  command = plan

  variables {
    access        = null
    access_values = { admin_token = "short", secrets_key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" }
  }

  expect_failures = [var.access_values]
}

run "a_key_that_is_none" {
  command = plan

  variables {
    access        = null
    access_values = { admin_token = "an-admin-token-of-32-characters-x", secrets_key = "AAAA" }
  }

  expect_failures = [var.access_values]
}
