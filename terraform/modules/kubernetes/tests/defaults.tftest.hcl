# What a fleet is by default, and what follows from its variables.

mock_provider "kubernetes" {}

variables {
  namespace     = "streaming"
  image         = "registry.example.com/fnbridge:0.1.0"
  clusters      = { default = { bootstrap_servers = "kafka-0.kafka:9092,kafka-1.kafka:9092" } }
  postgres      = { secret = "fnbridge-db-app" }
  tls           = { secret = "fnbridge-tls", ca_key = "ca.crt" }
  access_values = { admin_token = "an-admin-token-of-32-characters-x", secrets_key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" }
}

run "workers_are_static_members_by_their_pods_names" {
  command = plan

  assert {
    condition     = [for n in range(3) : yamldecode(kubernetes_config_map_v1.configuration.data["fnbridge-${n}.yaml"]).worker.id] == ["fnbridge-0", "fnbridge-1", "fnbridge-2"]
    error_message = "each pod's file has the pod's name as worker.id"
  }
  assert {
    condition     = kubernetes_stateful_set_v1.workers.spec[0].template[0].spec[0].container[0].args[2] == "/etc/fnbridge/configuration/$(POD_NAME).yaml"
    error_message = "a pod reads the file that is called as it is"
  }
  assert {
    condition     = kubernetes_stateful_set_v1.workers.spec[0].template[0].spec[0].container[0].env[0].value_from[0].field_ref[0].field_path == "metadata.name"
    error_message = "POD_NAME is the pod's name, and stands before what is made of it"
  }
}

run "workers_have_longer_to_end_than_a_drain_takes" {
  command = plan

  variables {
    drain_timeout_seconds = 300
  }

  assert {
    condition     = kubernetes_stateful_set_v1.workers.spec[0].template[0].spec[0].termination_grace_period_seconds == 330
    error_message = "the grace period is the drain's and 30 s"
  }
  assert {
    condition     = output.termination_grace_period_seconds > var.drain_timeout_seconds
    error_message = "a worker would be killed while it drains"
  }
}

run "one_worker_may_be_away_and_probes_ask_for_health" {
  command = plan

  assert {
    condition     = kubernetes_pod_disruption_budget_v1.workers.spec[0].max_unavailable == "1"
    error_message = "one at a time"
  }
  assert {
    condition     = kubernetes_pod_disruption_budget_v1.workers.spec[0].selector[0].match_labels == kubernetes_stateful_set_v1.workers.spec[0].selector[0].match_labels
    error_message = "the budget is for the pods of the fleet"
  }
  assert {
    condition     = kubernetes_stateful_set_v1.workers.spec[0].template[0].spec[0].container[0].liveness_probe[0].http_get[0].path == "/healthz"
    error_message = "alive is what /healthz says"
  }
  assert {
    condition     = kubernetes_stateful_set_v1.workers.spec[0].template[0].spec[0].container[0].readiness_probe[0].http_get[0].path == "/readyz"
    error_message = "ready is what /readyz says"
  }
  assert {
    condition     = kubernetes_stateful_set_v1.workers.spec[0].template[0].spec[0].container[0].readiness_probe[0].http_get[0].scheme == "HTTPS"
    error_message = "a worker with a certificate is asked over TLS"
  }
}

run "no_secret_stands_in_a_configuration" {
  command = plan

  variables {
    clusters = { default = {
      bootstrap_servers = "kafka:9093"
      security = {
        protocol    = "sasl_ssl"
        mechanism   = "SCRAM-SHA-512"
        credentials = { secret = "kafka-user" }
        ca          = { secret = "kafka-ca" }
      }
    } }
  }

  assert {
    condition = yamldecode(output.configuration).clusters.default.security == {
      protocol  = "sasl_ssl"
      mechanism = "SCRAM-SHA-512"
      username  = { env = "KAFKA_DEFAULT_USERNAME" }
      password  = { env = "KAFKA_DEFAULT_PASSWORD" }
      ca        = "/etc/fnbridge/kafka-default-ca/ca.pem"
    }
    error_message = "user and password are environment variables, the certificates a file"
  }
  assert {
    condition     = yamldecode(output.configuration).store == "postgres:///?sslmode=require"
    error_message = "the store's address and password come from its Secret"
  }
  assert {
    condition = {
      for env in kubernetes_stateful_set_v1.workers.spec[0].template[0].spec[0].container[0].env :
      env.name => env.value_from[0].secret_key_ref[0].key if startswith(env.name, "PG")
    } == { PGHOST = "host", PGPORT = "port", PGDATABASE = "dbname", PGUSER = "username", PGPASSWORD = "password" }
    error_message = "all that the store's URL leaves out is in the pods' environment"
  }
  assert {
    condition     = kubernetes_secret_v1.access[0].data_wo_revision == 1
    error_message = "what is in the Secret is sent once, and again with another version"
  }
}

run "pods_run_without_rights" {
  command = plan

  assert {
    condition = alltrue([
      kubernetes_stateful_set_v1.workers.spec[0].template[0].spec[0].security_context[0].run_as_non_root,
      kubernetes_stateful_set_v1.workers.spec[0].template[0].spec[0].container[0].security_context[0].read_only_root_filesystem,
      !kubernetes_stateful_set_v1.workers.spec[0].template[0].spec[0].container[0].security_context[0].allow_privilege_escalation,
      !kubernetes_stateful_set_v1.workers.spec[0].template[0].spec[0].automount_service_account_token,
    ])
    error_message = "no root, no writable root, no more rights, no token of the API's"
  }
}

run "a_change_of_the_configuration_restarts_workers_and_a_change_of_their_number_does_not" {
  command = plan

  assert {
    condition = kubernetes_stateful_set_v1.workers.spec[0].template[0].metadata[0].annotations["fnbridge.dev/configuration"] == sha256(yamlencode([
      { for key, value in yamldecode(output.configuration) : key => value if key != "worker" }, {},
    ]))
    error_message = "pods are replaced where what they read when they start is another, whatever their ids"
  }
}

run "secrets_that_changed_restart_workers" {
  command = plan

  variables {
    secrets_version = "2026-01-31"
  }

  assert {
    condition     = kubernetes_stateful_set_v1.workers.spec[0].template[0].metadata[0].annotations["fnbridge.dev/secrets"] == "2026-01-31"
    error_message = "pods are replaced where somebody says that a Secret of theirs has changed"
  }
}

run "an_upgrade_waits_whether_a_worker_stays_ready" {
  command = plan

  assert {
    condition     = kubernetes_stateful_set_v1.workers.spec[0].min_ready_seconds == 10
    error_message = "a worker that is ready and then dies would be followed by the next one"
  }
}

run "partitions_are_kept_for_a_worker_as_long_as_was_said" {
  command = plan

  variables {
    session_timeout_seconds = 20
    clusters = {
      default = { bootstrap_servers = "kafka:9092" }
      slow    = { bootstrap_servers = "slow:9092", properties = { "session.timeout.ms" = "90000" } }
      newer   = { bootstrap_servers = "newer:9092", properties = { "group.protocol" = "consumer" } }
    }
  }

  assert {
    condition = { for name, cluster in yamldecode(output.configuration).clusters : name => cluster.properties } == {
      default = { "session.timeout.ms" = "20000" }
      slow    = { "session.timeout.ms" = "90000" }
      newer   = { "group.protocol" = "consumer" }
    }
    error_message = "as was said, unless a cluster says otherwise, or has brokers that do"
  }
}

run "only_the_fleet_itself_reaches_the_port" {
  command = plan

  assert {
    condition     = length(kubernetes_network_policy_v1.workers[0].spec[0].ingress[0].from) == 1
    error_message = "nobody else was named"
  }
  assert {
    condition     = kubernetes_network_policy_v1.workers[0].spec[0].policy_types == tolist(["Ingress"])
    error_message = "without a list of what is reached, all is"
  }
}

run "what_needs_other_kinds_is_not_made_unless_it_is_asked_for" {
  command = plan

  assert {
    condition     = length(kubernetes_manifest.scaler) + length(kubernetes_manifest.service_monitor) + length(kubernetes_manifest.alerts) == 0
    error_message = "a cluster without KEDA and Prometheus takes the module as it is"
  }
  assert {
    condition     = kubernetes_stateful_set_v1.workers.spec[0].replicas == "3"
    error_message = "three workers"
  }
}

run "behind_a_proxy_that_does_tls" {
  command = plan

  variables {
    tls = null
  }

  assert {
    condition     = yamldecode(output.configuration).access == { behind_tls_proxy = true, secrets_key = { env = "FNBRIDGE_SECRETS_KEY" } }
    error_message = "workers are told that a proxy does TLS"
  }
  assert {
    condition     = output.url == "http://fnbridge.streaming.svc:8470"
    error_message = "the proxy is on the other side, too"
  }
}
