mock_provider "kubernetes" {}

variables {
  namespace   = "streaming"
  image       = "registry.example.com/fnbridge:0.1.0"
  clusters    = { default = { bootstrap_servers = "kafka:9092" } }
  postgres    = { secret = "fnbridge-db-app" }
  tls         = { secret = "fnbridge-tls" }
  access      = { secret = "fnbridge-access" }
  monitoring  = { labels = { release = "prometheus" } }
  autoscaling = { max_replicas = 12, token = { secret = "keda-token" } }
}

run "the_autoscaler_has_the_number_of_workers" {
  command = plan

  assert {
    condition     = kubernetes_manifest.scaler[0].manifest.spec.minReplicaCount == 2 && kubernetes_manifest.scaler[0].manifest.spec.maxReplicaCount == 12
    error_message = "from two to twelve"
  }
  assert {
    condition     = length(kubernetes_config_map_v1.configuration.data) == 12
    error_message = "each worker that may be has its file"
  }
  assert {
    condition     = length(kubernetes_secret_v1.access) == 0
    error_message = "the Secret that was named is used, and none is made"
  }
}

run "the_autoscaler_asks_the_fleet" {
  command = plan

  assert {
    condition = {
      for trigger in kubernetes_manifest.scaler[0].manifest.spec.triggers :
      trigger.metadata.valueLocation => "${trigger.metricType} ${trigger.metadata.targetValue}"
      } == {
      undispatched_records        = "AverageValue 10000"
      oldest_undispatched_seconds = "Value 30"
      wanted_workers              = "AverageValue 1"
    }
    error_message = "records a worker, seconds of the oldest, and workers as they are"
  }
  assert {
    condition     = alltrue([for trigger in kubernetes_manifest.scaler[0].manifest.spec.triggers : trigger.metadata.url == "https://fnbridge.streaming.svc:8470/v1/scaler?within_seconds=30"])
    error_message = "the service is asked, and workers are wanted for the age that is asked for"
  }
  assert {
    condition     = kubernetes_manifest.scaler_token[0].manifest.spec.secretTargetRef == [{ parameter = "token", name = "keda-token", key = "token" }]
    error_message = "with a token"
  }
}

run "prometheus_and_keda_reach_the_port" {
  command = plan

  assert {
    condition = toset(flatten([
      for from in kubernetes_network_policy_v1.workers[0].spec[0].ingress[0].from :
      [for selector in from.namespace_selector : selector.match_labels["kubernetes.io/metadata.name"]]
    ])) == toset(["monitoring", "keda"])
    error_message = "their namespaces are let in"
  }
}

run "what_has_to_be_seen_is_alerted_on_and_drawn" {
  command = plan

  assert {
    condition = length(setsubtract(
      ["FnbridgePartitionStuck", "FnbridgeOldestUnsettled", "FnbridgeNewDeadLetters", "FnbridgeBreakerOpen"],
      kubernetes_manifest.alerts[0].manifest.spec.groups[0].rules[*].alert,
    )) == 0
    error_message = "a stuck partition, the oldest unsettled record, new dead letters, an open breaker"
  }
  assert {
    condition = length(setsubtract(
      ["Stuck partitions", "Oldest unsettled record", "New dead letters", "Breakers open"],
      jsondecode(kubernetes_config_map_v1.dashboard[0].data["streaming-fnbridge.json"]).panels[*].title,
    )) == 0
    error_message = "the dashboard has the same"
  }
  assert {
    condition     = kubernetes_manifest.service_monitor[0].manifest.metadata.labels.release == "prometheus"
    error_message = "Prometheus selects by its labels"
  }
  assert {
    condition = length(setsubtract(
      keys(kubernetes_manifest.service_monitor[0].manifest.spec.selector.matchLabels),
      keys(kubernetes_service_v1.api.metadata[0].labels),
    )) == 0 && kubernetes_manifest.service_monitor[0].manifest.spec.selector.matchLabels["app.kubernetes.io/component"] == kubernetes_service_v1.api.metadata[0].labels["app.kubernetes.io/component"]
    error_message = "it scrapes the service in front of the workers"
  }
  assert {
    condition     = !contains(keys(kubernetes_service_v1.workers.metadata[0].labels), "app.kubernetes.io/component")
    error_message = "and not the headless one, too: each sample would be there twice"
  }
}

run "an_alert_looks_at_four_scrapes_and_counts_the_workers_that_there_are_at_least" {
  command = plan

  variables {
    monitoring = { interval = "1m", thresholds = { stuck_seconds = 600 } }
  }

  assert {
    condition = [
      for rule in kubernetes_manifest.alerts[0].manifest.spec.groups[0].rules : "${rule.for} ${length(regexall("\\[240s\\]", rule.expr))}" if rule.alert == "FnbridgePartitionStuck"
    ] == ["600s 1"]
    error_message = "what is settled is looked for in four scrapes' time, and lacks for as long as was said"
  }
  assert {
    condition = [
      for rule in kubernetes_manifest.alerts[0].manifest.spec.groups[0].rules : endswith(rule.expr, "< 2") if rule.alert == "FnbridgeWorkersMissing"
    ] == [true]
    error_message = "the autoscaler leaves two"
  }
}

run "egress_is_what_is_named" {
  command = plan

  variables {
    network_policy = {
      from   = [{ namespace_labels = { team = "payments" }, pod_labels = { role = "deployer" } }, { cidr = "10.1.0.0/16" }]
      egress = [{ cidr = "10.2.0.0/16", ports = [9092, 5432] }, { pod_labels = { app = "kafka" }, ports = [9092] }]
    }
  }

  assert {
    condition     = kubernetes_network_policy_v1.workers[0].spec[0].policy_types == tolist(["Ingress", "Egress"])
    error_message = "both ways"
  }
  assert {
    condition     = length(kubernetes_network_policy_v1.workers[0].spec[0].egress) == 4 && length(kubernetes_network_policy_v1.workers[0].spec[0].ingress[0].from) == 5
    error_message = "DNS, each other and what was named; the fleet, Prometheus, KEDA and the two peers"
  }
  assert {
    condition     = kubernetes_network_policy_v1.workers[0].spec[0].egress[3].to[0].pod_selector[0].match_labels.app == "kafka"
    error_message = "pods are named by their labels"
  }
}
