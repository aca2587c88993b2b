locals {
  shown = "${local.here},pipeline=~\"$pipeline\""

  panels = [
    {
      title = "Stuck partitions"
      unit  = "short"
      kind  = "stat"
      # What the alert FnbridgePartitionStuck counts.
      queries = [{
        legend = "stuck"
        expr   = "count(${format(local.stuck, local.shown)}) or vector(0)"
      }]
    },
    {
      title   = "Breakers open"
      unit    = "short"
      kind    = "stat"
      queries = [{ legend = "open", expr = "sum(max by (pipeline) (fnbridge_breaker_open{${local.shown}}))" }]
    },
    {
      title   = "Dead letters to see to"
      unit    = "short"
      kind    = "stat"
      queries = [{ legend = "open", expr = "sum(max by (pipeline, stage, group) (fnbridge_dead_letters_open{${local.shown}})) or vector(0)" }]
    },
    {
      title   = "Workers"
      unit    = "short"
      kind    = "stat"
      queries = [{ legend = "up", expr = "sum(up{${local.here}})" }]
    },
    {
      title   = "Oldest unsettled record"
      unit    = "s"
      kind    = "timeseries"
      queries = [{ legend = "{{pipeline}} {{topic}}/{{partition}}", expr = "topk(10, max by (pipeline, topic, partition) (fnbridge_oldest_unsettled_seconds{${local.shown}}))" }]
    },
    {
      title   = "Lag in seconds"
      unit    = "s"
      kind    = "timeseries"
      queries = [{ legend = "{{pipeline}}", expr = "max by (pipeline) (fnbridge_lag_seconds{${local.shown}})" }]
    },
    {
      title   = "Records settled a second"
      unit    = "ops"
      kind    = "timeseries"
      queries = [{ legend = "{{pipeline}} {{disposition}}", expr = "sum by (pipeline, disposition) (rate(fnbridge_settled_records_total{${local.shown}}[$__rate_interval]))" }]
    },
    {
      title = "Records that wait, and on the wire"
      unit  = "short"
      kind  = "timeseries"
      queries = [
        { legend = "{{pipeline}} wait", expr = "sum by (pipeline) (fnbridge_waiting_records{${local.shown}})" },
        { legend = "{{pipeline}} on the wire", expr = "sum by (pipeline) (fnbridge_in_flight_records{${local.shown}})" },
      ]
    },
    {
      title = "How long calls take"
      unit  = "s"
      kind  = "timeseries"
      queries = [
        { legend = "{{pipeline}} p50", expr = "histogram_quantile(0.5, sum by (pipeline, le) (rate(fnbridge_call_duration_seconds_bucket{${local.shown}}[$__rate_interval])))" },
        { legend = "{{pipeline}} p99", expr = "histogram_quantile(0.99, sum by (pipeline, le) (rate(fnbridge_call_duration_seconds_bucket{${local.shown}}[$__rate_interval])))" },
      ]
    },
    {
      title   = "Calls by what they came to"
      unit    = "ops"
      kind    = "timeseries"
      queries = [{ legend = "{{pipeline}} {{outcome}}", expr = "sum by (pipeline, outcome) (rate(fnbridge_attempts_total{${local.shown}}[$__rate_interval]))" }]
    },
    {
      title   = "New dead letters"
      unit    = "short"
      kind    = "timeseries"
      queries = [{ legend = "{{pipeline}} {{stage}}", expr = "sum by (pipeline, stage) (increase(fnbridge_dead_letters_total{${local.shown}}[$__rate_interval]))" }]
    },
    {
      title = "Breaker, guard, sinks"
      unit  = "short"
      kind  = "timeseries"
      queries = [
        { legend = "{{pipeline}} breaker", expr = "max by (pipeline) (fnbridge_breaker_open{${local.shown}}) > 0" },
        { legend = "{{pipeline}} guard {{guard}}", expr = "max by (pipeline, guard) (fnbridge_guard_tripped{${local.shown}}) > 0" },
        { legend = "{{pipeline}} {{sink}} away", expr = "max by (pipeline, sink) (fnbridge_sink_away{${local.shown}}) > 0" },
        { legend = "{{pipeline}} {{sink}} blocked", expr = "max by (pipeline, sink) (fnbridge_sink_blocked{${local.shown}}) > 0" },
      ]
    },
    {
      title   = "How long sinks take, p99"
      unit    = "s"
      kind    = "timeseries"
      queries = [{ legend = "{{pipeline}} {{sink}}", expr = "histogram_quantile(0.99, sum by (pipeline, sink, le) (rate(fnbridge_sink_duration_seconds_bucket{${local.shown}}[$__rate_interval])))" }]
    },
    {
      title   = "Partitions that changed hands"
      unit    = "short"
      kind    = "timeseries"
      queries = [{ legend = "{{pipeline}} {{change}}", expr = "sum by (pipeline, change) (increase(fnbridge_rebalanced_partitions_total{${local.shown}}[$__rate_interval]))" }]
    },
    {
      title   = "Bytes held"
      unit    = "bytes"
      kind    = "timeseries"
      queries = [{ legend = "{{pod}} {{pipeline}}", expr = "sum by (pod, pipeline) (fnbridge_held_bytes{${local.shown}})" }]
    },
    {
      title   = "Drains, p99"
      unit    = "s"
      kind    = "timeseries"
      queries = [{ legend = "{{end}}", expr = "histogram_quantile(0.99, sum by (end, le) (rate(fnbridge_drain_duration_seconds_bucket{${local.shown}}[$__rate_interval])))" }]
    },
  ]

  options = {
    stat       = { reduceOptions = { calcs = ["lastNotNull"] } }
    timeseries = { legend = { displayMode = "list", placement = "bottom" } }
  }

  datasource = { type = "prometheus", uid = "$${datasource}" }

  dashboard = {
    title         = "fnbridge ${var.namespace}/${var.name}"
    uid           = "fnbridge-${substr(sha256("${var.namespace}/${var.name}"), 0, 16)}"
    tags          = ["fnbridge"]
    schemaVersion = 39
    editable      = true
    refresh       = "30s"
    time          = { from = "now-6h", to = "now" }
    templating = { list = [
      { name = "datasource", label = "Prometheus", type = "datasource", query = "prometheus" },
      {
        name       = "pipeline"
        type       = "query"
        datasource = local.datasource
        definition = "label_values(fnbridge_pipeline_info{${local.here}}, pipeline)"
        query      = { query = "label_values(fnbridge_pipeline_info{${local.here}}, pipeline)", refId = "pipelines" }
        refresh    = 2
        multi      = true
        includeAll = true
        allValue   = ".*"
        current    = { text = "All", value = "$__all" }
        sort       = 1
      },
    ] }
    # Four numbers in the first row, then two charts in each.
    panels = [for n, panel in local.panels : {
      id         = n + 1
      title      = panel.title
      type       = panel.kind
      datasource = local.datasource
      gridPos = {
        x = n < 4 ? n * 6 : (n % 2) * 12
        y = n < 4 ? 0 : 4 + floor((n - 4) / 2) * 8
        w = n < 4 ? 6 : 12
        h = n < 4 ? 4 : 8
      }
      fieldConfig = { defaults = { unit = panel.unit, min = 0 }, overrides = [] }
      options     = local.options[panel.kind]
      targets = [for m, query in panel.queries : {
        refId        = substr("ABCDEFGH", m, 1)
        datasource   = local.datasource
        expr         = query.expr
        legendFormat = query.legend
      }]
    }]
  }
}

resource "kubernetes_config_map_v1" "dashboard" {
  count = var.monitoring == null ? 0 : 1

  metadata {
    name      = "${var.name}-dashboard"
    namespace = var.namespace
    labels    = merge(local.labels, var.monitoring.dashboard_labels)
  }

  data = { "${var.namespace}-${var.name}.json" = jsonencode(local.dashboard) }
}
