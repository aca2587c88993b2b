locals {
  thresholds = try(var.monitoring.thresholds, {
    stuck_seconds            = 300
    oldest_unsettled_seconds = 900
    breaker_open_seconds     = 120
    sink_away_seconds        = 300
    not_running_seconds      = 600
  })
  # This fleet's samples: Prometheus names a job by the service that it scrapes.
  here = "namespace=\"${var.namespace}\",job=\"${var.name}\""

  # Long enough for four scrapes: an increase is seen between two of them. While the function is away, all of a pipeline's partitions stand, and
  # FnbridgeBreakerOpen tells of it once.
  interval_seconds = try(tonumber(trimsuffix(var.monitoring.interval, "s")), tonumber(trimsuffix(var.monitoring.interval, "m")) * 60, 15)
  settling_seconds = max(60, 4 * local.interval_seconds)
  stuck            = <<-E
    max by (pipeline, topic, partition) (fnbridge_unsettled_records{%[1]s}) > 0
    unless sum by (pipeline, topic, partition) (increase(fnbridge_settled_records_total{%[1]s}[${local.settling_seconds}s])) > 0
    unless on (pipeline) max by (pipeline) (fnbridge_breaker_open{%[1]s}) > 0
  E

  alerts = [
    {
      alert    = "FnbridgePartitionStuck"
      severity = "critical"
      for      = local.thresholds.stuck_seconds
      expr     = format(local.stuck, local.here)
      summary  = "{{ $labels.pipeline }}: {{ $labels.topic }}/{{ $labels.partition }} holds records and settles none"
      action   = "fnbridge pipelines status {{ $labels.pipeline }} says what stands first and what it waits for. One that somebody paused while it held records is told here, too."
    },
    {
      alert    = "FnbridgeOldestUnsettled"
      severity = "warning"
      for      = 60
      expr     = "max by (pipeline, topic, partition) (fnbridge_oldest_unsettled_seconds{${local.here}}) > ${local.thresholds.oldest_unsettled_seconds}"
      summary  = "{{ $labels.pipeline }}: a record of {{ $labels.topic }}/{{ $labels.partition }} has waited for {{ $value | humanizeDuration }}"
      action   = "Look at retries and sinks of the pipeline; where all is well, it needs more calls in flight, or more workers."
    },
    {
      # A group's counter begins with its first letter, which `increase` can't see.
      alert    = "FnbridgeNewDeadLetters"
      severity = "warning"
      for      = 0
      expr     = <<-E
        sum by (pipeline, stage) (
          increase(fnbridge_dead_letters_arrived_total{${local.here}}[10m]) > 0
          or (fnbridge_dead_letters_arrived_total{${local.here}} unless fnbridge_dead_letters_arrived_total{${local.here}} offset 10m) > 0
        )
      E
      summary  = "{{ $labels.pipeline }}: new dead letters of stage {{ $labels.stage }}"
      action   = "fnbridge dlq groups {{ $labels.pipeline }} shows why records were given up, and one of each kind."
    },
    {
      alert    = "FnbridgeBreakerOpen"
      severity = "critical"
      for      = local.thresholds.breaker_open_seconds
      expr     = "max by (pipeline) (fnbridge_breaker_open{${local.here}}) > 0"
      summary  = "{{ $labels.pipeline }}: its function is away, and only probes go out"
      action   = "fnbridge pipelines status {{ $labels.pipeline }} has the answer that the function gives. Nothing is dead-lettered meanwhile."
    },
    {
      alert    = "FnbridgeGuardTripped"
      severity = "critical"
      for      = 60
      expr     = "max by (pipeline, guard) (fnbridge_guard_tripped{${local.here}}) > 0"
      summary  = "{{ $labels.pipeline }}: too many records in a row would have been given up, so none is"
      action   = "Mend the function; or, where these records are bad, fnbridge pipelines skip passes over them."
    },
    {
      alert    = "FnbridgeDeadLettersBlocked"
      severity = "critical"
      for      = 60
      expr     = "max by (pipeline) (fnbridge_dead_letters_blocked{${local.here}}) > 0"
      summary  = "{{ $labels.pipeline }}: its dead-letter topic can't be written, and it waits for it"
      action   = "fnbridge pipelines status {{ $labels.pipeline }} says what Kafka refuses."
    },
    {
      alert    = "FnbridgeSinkAway"
      severity = "warning"
      for      = local.thresholds.sink_away_seconds
      expr     = "max by (pipeline, sink) (fnbridge_sink_away{${local.here}}) > 0"
      summary  = "{{ $labels.pipeline }}: the sink {{ $labels.sink }} takes no results, and is waited for"
      action   = "The function is not called again for them; look at the sink."
    },
    {
      alert    = "FnbridgeSinkBlocked"
      severity = "critical"
      for      = 60
      expr     = "max by (pipeline, sink) (fnbridge_sink_blocked{${local.here}}) > 0"
      summary  = "{{ $labels.pipeline }}: the sink {{ $labels.sink }} won't come back by waiting"
      action   = "A wrong address, or a right that is missing: fnbridge pipelines status {{ $labels.pipeline }} says which."
    },
    {
      alert    = "FnbridgeRightMissing"
      severity = "critical"
      for      = 60
      expr     = "max by (pipeline, right) (fnbridge_missing_right{${local.here}}) > 0"
      summary  = "{{ $labels.pipeline }}: Kafka refuses {{ $labels.right }}"
      action   = "Grant it to the workers' user."
    },
    {
      alert    = "FnbridgePipelineNotRunning"
      severity = "warning"
      for      = local.thresholds.not_running_seconds
      expr     = "min by (pipeline) (fnbridge_pipeline_running{${local.here}}) == 0"
      summary  = "{{ $labels.pipeline }} waits for something that it can't start without, or has stopped"
      action   = "fnbridge pipelines status {{ $labels.pipeline }} says what."
    },
    {
      alert    = "FnbridgeWorkerDown"
      severity = "critical"
      for      = 120
      expr     = "up{${local.here}} == 0"
      summary  = "{{ $labels.pod }} does not answer"
      action   = "Others take its partitions when its session is over, unless it is back before."
    },
    {
      # Also where there is no pod to answer, and nothing for `up` to be 0 of.
      alert    = "FnbridgeWorkersMissing"
      severity = "critical"
      for      = 300
      expr     = "(sum(up{${local.here}}) or vector(0)) < ${local.least_workers}"
      summary  = "{{ $value }} of ${local.least_workers} workers answer"
      action   = "kubectl describe statefulset and its pods in ${var.namespace} say why: no node has room, an image or a Secret is missing, a volume can't be mounted."
    },
  ]
}

resource "kubernetes_manifest" "service_monitor" {
  count = var.monitoring == null ? 0 : 1

  manifest = {
    apiVersion = "monitoring.coreos.com/v1"
    kind       = "ServiceMonitor"
    metadata   = { name = var.name, namespace = var.namespace, labels = merge(local.labels, var.monitoring.labels) }
    spec = {
      selector = { matchLabels = merge(local.selector, { "app.kubernetes.io/component" = "api" }) }
      endpoints = [merge(
        { port = "api", path = "/metrics", interval = var.monitoring.interval, scheme = local.scheme },
        var.tls == null ? {} : { tlsConfig = merge(
          { serverName = local.host },
          var.tls.ca_key == null ? {} : { ca = { secret = { name = var.tls.secret, key = var.tls.ca_key } } },
        ) },
      )]
    }
  }
}

resource "kubernetes_manifest" "alerts" {
  count = var.monitoring == null ? 0 : 1

  manifest = {
    apiVersion = "monitoring.coreos.com/v1"
    kind       = "PrometheusRule"
    metadata   = { name = var.name, namespace = var.namespace, labels = merge(local.labels, var.monitoring.labels) }
    spec = {
      groups = [{
        name = "fnbridge"
        rules = [for alert in local.alerts : {
          alert       = alert.alert
          expr        = trimspace(alert.expr)
          for         = "${alert.for}s"
          labels      = merge({ severity = alert.severity }, var.monitoring.alert_labels)
          annotations = { summary = alert.summary, description = alert.action }
        }]
      }]
    }
  }
}
