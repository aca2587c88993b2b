# Where commands, Terraform, Prometheus and KEDA ask: any worker that is ready.
resource "kubernetes_service_v1" "api" {
  metadata {
    name      = var.name
    namespace = var.namespace
    labels    = merge(local.labels, { "app.kubernetes.io/component" = "api" })
  }

  spec {
    selector = local.selector
    port {
      name        = "api"
      port        = var.port
      target_port = "api"
    }
  }
}

# The pods' own names.
resource "kubernetes_service_v1" "workers" {
  metadata {
    name      = local.headless
    namespace = var.namespace
    labels    = local.labels
  }

  spec {
    cluster_ip                  = "None"
    publish_not_ready_addresses = true
    selector                    = local.selector
    port {
      name        = "api"
      port        = var.port
      target_port = "api"
    }
  }
}

locals {
  by_namespace = [
    for namespace in compact([try(var.monitoring.namespace, null), try(var.autoscaling.namespace, null)]) :
    { namespace_labels = { "kubernetes.io/metadata.name" = namespace }, pod_labels = null, cidr = null }
  ]
  peers = concat(
    [{ namespace_labels = null, pod_labels = local.selector, cidr = null }],
    local.by_namespace,
    try(var.network_policy.from, []),
  )
}

resource "kubernetes_network_policy_v1" "workers" {
  count = var.network_policy == null ? 0 : 1

  metadata {
    name      = var.name
    namespace = var.namespace
    labels    = local.labels
  }

  spec {
    policy_types = var.network_policy.egress == null ? ["Ingress"] : ["Ingress", "Egress"]

    pod_selector {
      match_labels = local.selector
    }

    ingress {
      ports {
        port     = "api"
        protocol = "TCP"
      }

      dynamic "from" {
        for_each = local.peers
        content {
          dynamic "namespace_selector" {
            for_each = from.value.namespace_labels[*]
            content {
              match_labels = namespace_selector.value
            }
          }
          dynamic "pod_selector" {
            for_each = from.value.pod_labels[*]
            content {
              match_labels = pod_selector.value
            }
          }
          dynamic "ip_block" {
            for_each = from.value.cidr[*]
            content {
              cidr = ip_block.value
            }
          }
        }
      }
    }

    dynamic "egress" {
      for_each = var.network_policy.egress == null ? [] : ["dns"]
      content {
        ports {
          port     = "53"
          protocol = "UDP"
        }
        ports {
          port     = "53"
          protocol = "TCP"
        }
      }
    }

    dynamic "egress" {
      for_each = var.network_policy.egress == null ? [] : ["each other"]
      content {
        ports {
          port     = "api"
          protocol = "TCP"
        }
        to {
          pod_selector {
            match_labels = local.selector
          }
        }
      }
    }

    dynamic "egress" {
      for_each = coalesce(var.network_policy.egress, [])
      content {
        dynamic "ports" {
          for_each = egress.value.ports
          content {
            port     = tostring(ports.value)
            protocol = "TCP"
          }
        }
        to {
          dynamic "namespace_selector" {
            for_each = egress.value.namespace_labels[*]
            content {
              match_labels = namespace_selector.value
            }
          }
          dynamic "pod_selector" {
            for_each = egress.value.pod_labels[*]
            content {
              match_labels = pod_selector.value
            }
          }
          dynamic "ip_block" {
            for_each = egress.value.cidr[*]
            content {
              cidr = ip_block.value
            }
          }
        }
      }
    }
  }
}
