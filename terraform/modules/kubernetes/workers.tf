locals {
  from_secrets = merge(
    {
      FNBRIDGE_ADMIN_TOKEN = { secret = local.access.secret, key = local.access.admin_token_key }
      FNBRIDGE_SECRETS_KEY = { secret = local.access.secret, key = local.access.secrets_key_key }
      PGHOST               = { secret = var.postgres.secret, key = var.postgres.host_key }
      PGPORT               = { secret = var.postgres.secret, key = var.postgres.port_key }
      PGDATABASE           = { secret = var.postgres.secret, key = var.postgres.database_key }
      PGUSER               = { secret = var.postgres.secret, key = var.postgres.username_key }
      PGPASSWORD           = { secret = var.postgres.secret, key = var.postgres.password_key }
    },
    var.environment,
    [
      for name, cluster in var.clusters : {
        "${local.variable_of[name]}_USERNAME" = { secret = cluster.security.credentials.secret, key = cluster.security.credentials.username_key }
        "${local.variable_of[name]}_PASSWORD" = { secret = cluster.security.credentials.secret, key = cluster.security.credentials.password_key }
      } if cluster.security.credentials != null
    ]...
  )

  # Folders of files out of Secrets: the files' names by the Secret's keys.
  mounts = merge(
    var.tls == null ? {} : { tls = { secret = var.tls.secret, files = { "tls.crt" = "tls.crt", "tls.key" = "tls.key" } } },
    var.postgres.ca == null ? {} : { postgres-ca = { secret = var.postgres.ca.secret, files = { (var.postgres.ca.key) = "ca.pem" } } },
    { for name, cluster in var.clusters : "kafka-${name}-ca" => {
      secret = cluster.security.ca.secret
      files  = { (cluster.security.ca.key) = "ca.pem" }
    } if cluster.security.ca != null },
    { for name, cluster in var.clusters : "kafka-${name}-certificate" => {
      secret = cluster.security.certificate.secret
      files = {
        (cluster.security.certificate.certificate_key) = "tls.crt"
        (cluster.security.certificate.key_key)         = "tls.key"
      }
    } if cluster.security.certificate != null },
  )

  # What a worker does after its pipelines have drained: commits, and leaves the fleet.
  termination_grace_period_seconds = var.drain_timeout_seconds + 30
}

resource "kubernetes_service_account_v1" "workers" {
  metadata {
    name        = var.name
    namespace   = var.namespace
    labels      = local.labels
    annotations = var.service_account_annotations
  }

  automount_service_account_token = false
}

resource "kubernetes_stateful_set_v1" "workers" {
  metadata {
    name      = var.name
    namespace = var.namespace
    labels    = local.labels
  }

  # A pod that can't become ready would hold up an apply that is to mend it.
  wait_for_rollout = false

  spec {
    # Null leaves the number to the autoscaler.
    replicas              = var.autoscaling == null ? tostring(var.replicas) : null
    service_name          = kubernetes_service_v1.workers.metadata[0].name
    pod_management_policy = "Parallel"
    # An upgrade goes on with the next pod when this one has been ready for so long.
    min_ready_seconds = 10

    selector {
      match_labels = local.selector
    }

    update_strategy {
      type = "RollingUpdate"
      rolling_update {
        partition = 0
      }
    }

    template {
      metadata {
        labels = merge(local.labels, var.pod.labels)
        annotations = merge(var.pod.annotations, {
          # A worker reads its configuration when it starts.
          "fnbridge.dev/configuration" = sha256(yamlencode([local.configuration, var.worker_labels]))
          "fnbridge.dev/access"        = tostring(var.access_version)
          "fnbridge.dev/secrets"       = var.secrets_version
        })
      }

      spec {
        service_account_name             = kubernetes_service_account_v1.workers.metadata[0].name
        automount_service_account_token  = false
        enable_service_links             = false
        termination_grace_period_seconds = local.termination_grace_period_seconds
        node_selector                    = var.pod.node_selector
        priority_class_name              = var.pod.priority_class_name

        security_context {
          run_as_non_root = true
          run_as_user     = "65532"
          run_as_group    = "65532"
          fs_group        = "65532"
          seccomp_profile {
            type = "RuntimeDefault"
          }
        }

        dynamic "image_pull_secrets" {
          for_each = var.image_pull_secrets
          content {
            name = image_pull_secrets.value
          }
        }

        dynamic "toleration" {
          for_each = var.pod.tolerations
          content {
            key      = toleration.value.key
            operator = toleration.value.operator
            value    = toleration.value.value
            effect   = toleration.value.effect
          }
        }

        dynamic "topology_spread_constraint" {
          for_each = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
          content {
            topology_key       = topology_spread_constraint.value
            max_skew           = 1
            when_unsatisfiable = "ScheduleAnyway"
            label_selector {
              match_labels = local.selector
            }
          }
        }

        container {
          name              = "fnbridge"
          image             = var.image
          image_pull_policy = "IfNotPresent"
          # Kubernetes puts the pod's name in.
          args = ["serve", "--config", "${local.files}/configuration/$(POD_NAME).yaml"]

          env {
            name = "POD_NAME"
            value_from {
              field_ref {
                field_path = "metadata.name"
              }
            }
          }

          dynamic "env" {
            for_each = var.postgres.ca == null ? {} : { PGSSLROOTCERT = "${local.files}/postgres-ca/ca.pem" }
            content {
              name  = env.key
              value = env.value
            }
          }

          dynamic "env" {
            for_each = local.from_secrets
            content {
              name = env.key
              value_from {
                secret_key_ref {
                  name = env.value.secret
                  key  = env.value.key
                }
              }
            }
          }

          port {
            name           = "api"
            container_port = var.port
            protocol       = "TCP"
          }

          resources {
            requests = { cpu = var.resources.cpu, memory = var.resources.memory }
            limits = merge(
              { memory = var.resources.memory },
              var.resources.cpu_limit == null ? {} : { cpu = var.resources.cpu_limit },
            )
          }

          startup_probe {
            period_seconds    = 1
            failure_threshold = 60
            http_get {
              path   = "/healthz"
              port   = "api"
              scheme = upper(local.scheme)
            }
          }

          liveness_probe {
            period_seconds    = 10
            timeout_seconds   = 5
            failure_threshold = 6
            http_get {
              path   = "/healthz"
              port   = "api"
              scheme = upper(local.scheme)
            }
          }

          readiness_probe {
            period_seconds    = 5
            timeout_seconds   = 5
            failure_threshold = 2
            http_get {
              path   = "/readyz"
              port   = "api"
              scheme = upper(local.scheme)
            }
          }

          security_context {
            allow_privilege_escalation = false
            read_only_root_filesystem  = true
            capabilities {
              drop = ["ALL"]
            }
          }

          volume_mount {
            name       = "configuration"
            mount_path = "${local.files}/configuration"
            read_only  = true
          }

          dynamic "volume_mount" {
            for_each = local.mounts
            content {
              name       = volume_mount.key
              mount_path = "${local.files}/${volume_mount.key}"
              read_only  = true
            }
          }
        }

        volume {
          name = "configuration"
          config_map {
            name = kubernetes_config_map_v1.configuration.metadata[0].name
          }
        }

        dynamic "volume" {
          for_each = local.mounts
          content {
            name = volume.key
            secret {
              secret_name  = volume.value.secret
              default_mode = "0440"
              dynamic "items" {
                for_each = volume.value.files
                content {
                  key  = items.key
                  path = items.value
                }
              }
            }
          }
        }
      }
    }
  }

  depends_on = [kubernetes_secret_v1.access]

  lifecycle {
    precondition {
      condition     = local.sizes.memory >= 3 * local.sizes.in_flight
      error_message = "found resources.memory ${var.resources.memory}, expected at least three times limits.in_flight_bytes, which is ${var.limits.in_flight_bytes}: a worker that holds so much would be killed for want of memory."
    }
  }
}

resource "kubernetes_pod_disruption_budget_v1" "workers" {
  metadata {
    name      = var.name
    namespace = var.namespace
    labels    = local.labels
  }

  spec {
    max_unavailable = tostring(var.max_unavailable)
    selector {
      match_labels = local.selector
    }
  }
}
