# Not lag: it counts what is on the wire and what waits for its turn, which more workers would not bring forward.
locals {
  scaler = {
    undispatched_records = {
      value_location = "undispatched_records"
      target         = try(var.autoscaling.undispatched_records, 1)
      metric_type    = "AverageValue"
    }
    oldest_undispatched_seconds = {
      value_location = "oldest_undispatched_seconds"
      target         = try(var.autoscaling.oldest_undispatched_seconds, 1)
      metric_type    = "Value"
    }
    wanted_workers = {
      value_location = "wanted_workers"
      target         = 1
      metric_type    = "AverageValue"
    }
  }
}

resource "kubernetes_manifest" "scaler_token" {
  count = var.autoscaling == null ? 0 : 1

  manifest = {
    apiVersion = "keda.sh/v1alpha1"
    kind       = "TriggerAuthentication"
    metadata   = { name = var.name, namespace = var.namespace, labels = local.labels }
    spec = {
      secretTargetRef = [{ parameter = "token", name = var.autoscaling.token.secret, key = var.autoscaling.token.key }]
    }
  }
}

resource "kubernetes_manifest" "scaler" {
  count = var.autoscaling == null ? 0 : 1

  manifest = {
    apiVersion = "keda.sh/v1alpha1"
    kind       = "ScaledObject"
    metadata   = { name = var.name, namespace = var.namespace, labels = local.labels }
    spec = {
      scaleTargetRef  = { apiVersion = "apps/v1", kind = "StatefulSet", name = kubernetes_stateful_set_v1.workers.metadata[0].name }
      minReplicaCount = var.autoscaling.min_replicas
      maxReplicaCount = var.autoscaling.max_replicas
      pollingInterval = var.autoscaling.polling_seconds
      # While nobody answers, the number stays as it is.
      fallback = { failureThreshold = 3, replicas = var.autoscaling.min_replicas, behavior = "currentReplicasIfHigher" }
      advanced = {
        horizontalPodAutoscalerConfig = {
          behavior = {
            scaleDown = {
              stabilizationWindowSeconds = var.autoscaling.scale_down_after_seconds
              policies                   = [{ type = "Pods", value = 1, periodSeconds = var.autoscaling.seconds_between_removals }]
            }
          }
        }
      }
      triggers = [
        for name, metric in local.scaler : {
          type              = "metrics-api"
          name              = replace(name, "_", "-")
          metricType        = metric.metric_type
          authenticationRef = { name = kubernetes_manifest.scaler_token[0].manifest.metadata.name }
          metadata = {
            url           = "${local.scheme}://${local.host}:${var.port}/v1/scaler?within_seconds=${var.autoscaling.oldest_undispatched_seconds}"
            format        = "json"
            valueLocation = metric.value_location
            targetValue   = tostring(metric.target)
            authMode      = "bearer"
            unsafeSsl     = tostring(!var.autoscaling.tls_verify)
          }
        }
      ]
    }
  }
}
