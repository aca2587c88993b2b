variable "name" {
  description = "The fleet's name: that of its StatefulSet, services and policies, and the beginning of its workers' ids."
  type        = string
  default     = "fnbridge"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", var.name))
    error_message = "found ${jsonencode(var.name)}, expected 1 to 40 of a-z, 0-9 and -, beginning with a letter and not ending with -."
  }
}

variable "namespace" {
  description = "The namespace, which has to be there."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "found ${jsonencode(var.namespace)}, expected a namespace's name: 1 to 63 of a-z, 0-9 and -."
  }
}

variable "labels" {
  description = "Labels of everything that is made."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "image" {
  description = "The image of fnbridge, by tag or digest."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})$", var.image)) && !endswith(var.image, ":latest")
    error_message = "found ${jsonencode(var.image)}, expected an image with a tag other than latest, or a digest: workers of a fleet run one version."
  }
}

variable "image_pull_secrets" {
  description = "Secrets of the registry, by name."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "replicas" {
  description = "Workers, where `autoscaling` does not set them."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.replicas >= 1 && var.replicas <= 200 && floor(var.replicas) == var.replicas
    error_message = "found ${var.replicas}, expected a whole number from 1 to 200."
  }
}

variable "drain_timeout_seconds" {
  description = "The longest `drain_timeout` of the fleet's pipelines (by default 5 s more than their function's time-out). Pods are given 30 s more to end."
  type        = number
  default     = 35
  nullable    = false

  validation {
    condition     = var.drain_timeout_seconds >= 1 && var.drain_timeout_seconds <= 3600 && floor(var.drain_timeout_seconds) == var.drain_timeout_seconds
    error_message = "found ${var.drain_timeout_seconds}, expected a whole number of seconds from 1 to 3600."
  }
}

variable "session_timeout_seconds" {
  description = <<-E
    How long Kafka keeps the partitions of a worker that ended: one that is back by then finds them as it left them, and those of one that was
    taken away for good lie idle so long. A cluster's `properties` may say otherwise (`session.timeout.ms`); brokers take 6 s to 30 min, unless told.
  E
  type        = number
  default     = 45
  nullable    = false

  validation {
    condition     = var.session_timeout_seconds >= 6 && var.session_timeout_seconds <= 300 && floor(var.session_timeout_seconds) == var.session_timeout_seconds
    error_message = "found ${var.session_timeout_seconds}, expected a whole number of seconds from 6 to 300: a pod that is replaced has to be back by then."
  }
}

variable "clusters" {
  description = <<-E
    Kafka clusters, by the names that pipelines use. Credentials and certificates are read from Secrets of the namespace, each by the
    Secret's name and its keys; `properties` are librdkafka's.
  E
  type = map(object({
    bootstrap_servers = string
    security = optional(object({
      protocol        = optional(string, "plaintext")
      mechanism       = optional(string)
      verify_hostname = optional(bool, true)
      credentials = optional(object({
        secret       = string
        username_key = optional(string, "username")
        password_key = optional(string, "password")
      }))
      ca = optional(object({
        secret = string
        key    = optional(string, "ca.crt")
      }))
      certificate = optional(object({
        secret          = string
        certificate_key = optional(string, "tls.crt")
        key_key         = optional(string, "tls.key")
      }))
    }), {})
    properties         = optional(map(string), {})
    dead_letter_topics = optional(list(string), [])
  }))
  nullable = false

  validation {
    condition     = length(var.clusters) > 0
    error_message = "found no cluster, expected at least one, such as default."
  }

  validation {
    condition     = alltrue([for name in keys(var.clusters) : can(regex("^[a-z][a-z0-9-]{0,39}$", name))])
    error_message = "found ${jsonencode(keys(var.clusters))}, expected names of 1 to 40 of a-z, 0-9 and -, beginning with a letter."
  }

  validation {
    condition     = alltrue([for cluster in values(var.clusters) : can(regex("^[^:,\\s]+:[0-9]+(,[^:,\\s]+:[0-9]+)*$", cluster.bootstrap_servers))])
    error_message = "found bootstrap_servers ${jsonencode([for cluster in values(var.clusters) : cluster.bootstrap_servers])}, expected host:port, or several separated by commas."
  }

  validation {
    condition     = alltrue([for cluster in values(var.clusters) : contains(["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"], cluster.security.protocol)])
    error_message = "found security.protocol ${jsonencode([for cluster in values(var.clusters) : cluster.security.protocol])}, expected plaintext, ssl, sasl_plaintext or sasl_ssl."
  }

  validation {
    condition = alltrue([
      for cluster in values(var.clusters) :
      startswith(cluster.security.protocol, "sasl_") == (cluster.security.credentials != null) &&
      startswith(cluster.security.protocol, "sasl_") == (cluster.security.mechanism != null)
    ])
    error_message = "a protocol that begins with sasl_ needs security.mechanism and security.credentials, and no other has them."
  }

  validation {
    condition = alltrue([
      for cluster in values(var.clusters) :
      contains(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], coalesce(cluster.security.mechanism, "PLAIN"))
    ])
    error_message = "found security.mechanism ${jsonencode([for cluster in values(var.clusters) : cluster.security.mechanism])}, expected PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."
  }

  validation {
    condition = alltrue([
      for cluster in values(var.clusters) :
      strcontains(cluster.security.protocol, "ssl") || (cluster.security.ca == null && cluster.security.certificate == null)
    ])
    error_message = "security.ca and security.certificate are for the protocols ssl and sasl_ssl."
  }
}

variable "postgres" {
  description = <<-E
    The database that the fleet's state is kept in, as a Secret of the namespace describes it; the defaults are the keys that
    CloudNativePG writes. `ca` is the Secret with the certificates that the server's must chain to, for `ssl_mode` verify-ca and verify-full.
  E
  type = object({
    secret       = string
    host_key     = optional(string, "host")
    port_key     = optional(string, "port")
    database_key = optional(string, "dbname")
    username_key = optional(string, "username")
    password_key = optional(string, "password")
    ssl_mode     = optional(string, "require")
    ca = optional(object({
      secret = string
      key    = optional(string, "ca.crt")
    }))
  })
  nullable = false

  validation {
    condition     = contains(["disable", "prefer", "require", "verify-ca", "verify-full"], var.postgres.ssl_mode)
    error_message = "found ssl_mode ${jsonencode(var.postgres.ssl_mode)}, expected disable, prefer, require, verify-ca or verify-full."
  }

  validation {
    condition     = startswith(var.postgres.ssl_mode, "verify-") == (var.postgres.ca != null)
    error_message = "ssl_mode verify-ca and verify-full need postgres.ca, and no other has it."
  }
}

variable "tls" {
  description = <<-E
    The Secret (kubernetes.io/tls) with the API's certificate, which names the service and its pods (outputs `dns_names`). It is read again
    when it changes. `ca_key` is the key of the certificate that signed it, where the system does not know it. Null where a mesh's proxy in
    front of the pods does TLS: workers are then told that they stand behind one.
  E
  type = object({
    secret = string
    ca_key = optional(string)
  })
}

variable "access" {
  description = <<-E
    The Secret with the first token (`admin_token_key`, at least 32 characters) and the key that secrets are encrypted with
    (`secrets_key_key`, 32 random bytes as base64). Null makes one from `access_values`.
  E
  type = object({
    secret          = string
    admin_token_key = optional(string, "admin-token")
    secrets_key_key = optional(string, "secrets-key")
  })
  default = null
}

variable "access_values" {
  description = "What the Secret holds where `access` names none. Neither state nor plan has it."
  type = object({
    admin_token = string
    secrets_key = string
  })
  default   = null
  ephemeral = true
  sensitive = true

  validation {
    condition     = (var.access == null) == (var.access_values != null)
    error_message = "expected one of access, which names a Secret, and access_values, which become one."
  }

  validation {
    condition     = length(try(var.access_values.admin_token, "-------- as many as it has to have")) >= 32
    error_message = "expected access_values.admin_token of at least 32 characters, such as of `openssl rand -base64 32`."
  }

  validation {
    condition     = can(regex("^[A-Za-z0-9+/]{43}=$", try(var.access_values.secrets_key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")))
    error_message = "expected access_values.secrets_key to be 32 bytes as base64, such as of `openssl rand -base64 32`."
  }
}

variable "access_version" {
  description = "Raise it where `access_values` changes: what is not in the state can't be compared. Workers are restarted one after another."
  type        = number
  default     = 1
  nullable    = false
}

variable "secrets_version" {
  description = "Another text restarts workers one after another. They have what is in Secrets from when they started; only the API's certificate is read again."
  type        = string
  default     = "1"
  nullable    = false
}

variable "port" {
  description = "The port of API, metrics and health."
  type        = number
  default     = 8470
  nullable    = false

  validation {
    condition     = var.port >= 1024 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "found ${var.port}, expected a port from 1024 to 65535: workers are not root."
  }
}

variable "worker_labels" {
  description = "Labels of the workers, for `placement.labels` of pipelines."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "resources" {
  description = "What a worker asks for and may use. `memory` is request and limit: three times `limits.in_flight_bytes` and more."
  type = object({
    cpu       = optional(string, "500m")
    cpu_limit = optional(string)
    memory    = optional(string, "512Mi")
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for cpu in [var.resources.cpu, coalesce(var.resources.cpu_limit, "1")] : can(regex("^([0-9]+(\\.[0-9]+)?|[0-9]+m)$", cpu))])
    error_message = "found resources.cpu ${jsonencode(var.resources.cpu)} and cpu_limit ${jsonencode(var.resources.cpu_limit)}, expected CPUs such as 2, 0.5 or 500m."
  }

  validation {
    condition     = can(regex("^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$", var.resources.memory))
    error_message = "found resources.memory ${jsonencode(var.resources.memory)}, expected bytes such as 512Mi or 2Gi."
  }
}

variable "limits" {
  description = "What a worker may hold, of all its pipelines."
  type = object({
    in_flight_bytes = optional(string, "96MiB")
    prefetch_bytes  = optional(string, "32MiB")
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for size in values(var.limits) : can(regex("^[0-9]+ ?([KMG]i?B|B)?$", size))])
    error_message = "found ${jsonencode(var.limits)}, expected sizes such as 96MiB."
  }
}

variable "telemetry" {
  description = "Where traces are sent (OTLP over HTTP), and the least that the log says."
  type = object({
    otlp_endpoint = optional(string)
    log_level     = optional(string, "info")
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["off", "error", "warn", "info", "debug", "trace"], var.telemetry.log_level)
    error_message = "found log_level ${jsonencode(var.telemetry.log_level)}, expected off, error, warn, info, debug or trace."
  }

  validation {
    condition     = can(regex("^https?://", coalesce(var.telemetry.otlp_endpoint, "http://")))
    error_message = "found otlp_endpoint ${jsonencode(var.telemetry.otlp_endpoint)}, expected a URL such as http://collector.observability:4318."
  }
}

variable "functions" {
  description = "Networks in which functions and HTTP sinks may be, and may not be. `deny` null keeps fnbridge's own list: metadata services and link-local addresses."
  type = object({
    allow = optional(list(string), [])
    deny  = optional(list(string))
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for cidr in concat(var.functions.allow, coalesce(var.functions.deny, [])) : can(cidrhost(cidr, 0))])
    error_message = "found functions ${jsonencode(var.functions)}, expected networks such as 10.0.0.0/8, not names."
  }
}

variable "environment" {
  description = "Environment variables from Secrets, for what pipelines refer to as `{env: NAME}`."
  type = map(object({
    secret = string
    key    = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^[A-Z][A-Z0-9_]*$", name)) && !can(regex("^(PG|FNBRIDGE_|KAFKA_|POD_NAME$)", name))])
    error_message = "found ${jsonencode(keys(var.environment))}, expected names of A-Z, 0-9 and _ that do not begin with PG, FNBRIDGE_ or KAFKA_, which the module sets."
  }
}

variable "service_account_annotations" {
  description = "Annotations of the workers' service account, such as a cloud's role for it."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "pod" {
  description = "What else is said of the pods."
  type = object({
    labels              = optional(map(string), {})
    annotations         = optional(map(string), {})
    node_selector       = optional(map(string), {})
    priority_class_name = optional(string)
    tolerations = optional(list(object({
      key      = string
      operator = optional(string, "Equal")
      value    = optional(string)
      effect   = optional(string)
    })), [])
  })
  default  = {}
  nullable = false
}

variable "max_unavailable" {
  description = "Workers that may be away at once for reasons that can wait, such as a node that is emptied."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.max_unavailable >= 1 && floor(var.max_unavailable) == var.max_unavailable
    error_message = "found ${var.max_unavailable}, expected a whole number of at least 1: with 0 no node could ever be emptied."
  }

  validation {
    condition     = var.max_unavailable < local.least_workers || local.least_workers <= 1
    error_message = "found ${var.max_unavailable}, expected less than the ${local.least_workers} workers that replicas or autoscaling.min_replicas ask for: all could be away at once."
  }
}

variable "network_policy" {
  description = <<-E
    Who reaches the port beside the fleet's own pods: `from` lists peers by the labels of their namespaces and pods, or by network.
    `/metrics` asks for no token, so that this is what guards it. `egress`, where it is not null, is all that workers reach beside DNS and
    each other, likewise by labels or by network: name Kafka, PostgreSQL, functions, sinks and the collector of traces; no `ports` are all. Null makes
    no policy.
  E
  type = object({
    from = optional(list(object({
      namespace_labels = optional(map(string))
      pod_labels       = optional(map(string))
      cidr             = optional(string)
    })), [])
    egress = optional(list(object({
      namespace_labels = optional(map(string))
      pod_labels       = optional(map(string))
      cidr             = optional(string)
      ports            = optional(list(number), [])
    })))
  })
  default = {}

  validation {
    condition = alltrue([
      for peer in concat(try(var.network_policy.from, []), try([for to in var.network_policy.egress : { for field, value in to : field => value if field != "ports" }], [])) :
      (peer.cidr != null) != (peer.namespace_labels != null || peer.pod_labels != null)
    ])
    error_message = "found network_policy ${jsonencode(var.network_policy)}, expected each of from and egress to have either a cidr or labels (namespace_labels, pod_labels or both)."
  }

  validation {
    condition = alltrue([
      for cidr in compact(concat(try(var.network_policy.from[*].cidr, []), try(var.network_policy.egress[*].cidr, []))) : can(cidrhost(cidr, 0))
    ])
    error_message = "found a cidr that is none in network_policy, expected a network such as 10.0.0.0/8."
  }
}

variable "monitoring" {
  description = <<-E
    A ServiceMonitor and a PrometheusRule, whose kinds have to be known to the cluster, and a dashboard in a ConfigMap that Grafana's sidecar
    finds by `dashboard_labels`. `labels` are those that the Prometheus selects by. Null makes none of them.
  E
  type = object({
    namespace        = optional(string, "monitoring") # of Prometheus, which the network policy lets in
    labels           = optional(map(string), {})
    interval         = optional(string, "15s")
    dashboard_labels = optional(map(string), { grafana_dashboard = "1" })
    alert_labels     = optional(map(string), {})
    thresholds = optional(object({
      stuck_seconds            = optional(number, 300)
      oldest_unsettled_seconds = optional(number, 900)
      breaker_open_seconds     = optional(number, 120)
      sink_away_seconds        = optional(number, 300)
      not_running_seconds      = optional(number, 600)
    }), {})
  })
  default = null

  validation {
    condition     = can(regex("^[0-9]+(s|m)$", try(var.monitoring.interval, "15s")))
    error_message = "found monitoring.interval ${jsonencode(try(var.monitoring.interval, null))}, expected seconds or minutes, such as 15s."
  }

  validation {
    condition     = alltrue([for seconds in try(values(var.monitoring.thresholds), [60]) : seconds >= 30])
    error_message = "found monitoring.thresholds ${jsonencode(try(var.monitoring.thresholds, null))}, expected at least 30 seconds each: two scrapes and more."
  }
}

variable "autoscaling" {
  description = <<-E
    A ScaledObject of KEDA (2.18 or later), which asks the fleet itself: how many records wait for a call, for how long, and how many workers
    their number asks for. `token` is the Secret with a token of the role viewer. `tls_verify` false takes any certificate, where KEDA
    does not know who signed the fleet's. Null keeps `replicas`.
  E
  type = object({
    min_replicas                = optional(number, 2)
    max_replicas                = number
    undispatched_records        = optional(number, 10000) # a worker
    oldest_undispatched_seconds = optional(number, 30)
    polling_seconds             = optional(number, 15)
    scale_down_after_seconds    = optional(number, 600)
    seconds_between_removals    = optional(number, 120)
    tls_verify                  = optional(bool, true)
    namespace                   = optional(string, "keda") # of KEDA, which the network policy lets in
    token = object({
      secret = string
      key    = optional(string, "token")
    })
  })
  default = null

  validation {
    condition = try(
      var.autoscaling.min_replicas >= 1 && var.autoscaling.max_replicas >= var.autoscaling.min_replicas && var.autoscaling.max_replicas <= 200,
      var.autoscaling == null
    )
    error_message = "found ${try(var.autoscaling.min_replicas, 0)} to ${try(var.autoscaling.max_replicas, 0)} workers, expected min_replicas of at least 1 and max_replicas from there to 200: a fleet without a worker can't tell what waits."
  }

  validation {
    condition = try(
      var.autoscaling.undispatched_records >= 1 && var.autoscaling.oldest_undispatched_seconds >= 1 && var.autoscaling.polling_seconds >= 5,
      var.autoscaling == null
    )
    error_message = "found ${jsonencode(var.autoscaling)}, expected undispatched_records and oldest_undispatched_seconds of at least 1, and polling_seconds of at least 5."
  }

  validation {
    condition = try(
      var.autoscaling.scale_down_after_seconds >= 0 && var.autoscaling.scale_down_after_seconds <= 3600 && var.autoscaling.seconds_between_removals <= 1800,
      var.autoscaling == null
    )
    error_message = "found scale_down_after_seconds ${try(var.autoscaling.scale_down_after_seconds, 0)} and seconds_between_removals ${try(var.autoscaling.seconds_between_removals, 0)}, expected 3600 and 1800 at the most, as Kubernetes does."
  }

  validation {
    condition     = try(var.autoscaling.seconds_between_removals >= var.drain_timeout_seconds + local.session_seconds, true)
    error_message = "found seconds_between_removals ${try(var.autoscaling.seconds_between_removals, 0)}, expected at least drain_timeout_seconds and the session's time-out together (${var.drain_timeout_seconds} + ${try(local.session_seconds, 0)}): the partitions of a worker that was taken away lie idle until then, and a second one's would, too."
  }
}
