locals {
  labels = merge(var.labels, {
    "app.kubernetes.io/name"       = "fnbridge"
    "app.kubernetes.io/instance"   = var.name
    "app.kubernetes.io/managed-by" = "terraform"
  })
  selector = {
    "app.kubernetes.io/name"     = "fnbridge"
    "app.kubernetes.io/instance" = var.name
  }

  headless     = "${var.name}-workers"
  host         = "${var.name}.${var.namespace}.svc"
  scheme       = var.tls == null ? "http" : "https"
  most_workers = var.autoscaling == null ? var.replicas : max(var.replicas, var.autoscaling.max_replicas)

  least_workers = var.autoscaling == null ? var.replicas : var.autoscaling.min_replicas

  # KAFKA_DEFAULT_USERNAME for the cluster `default`. Names have no underscore, so that no two of them meet.
  variable_of = { for name in keys(var.clusters) : name => "KAFKA_${upper(replace(name, "-", "_"))}" }

  # The newer group protocol leaves the session to the broker, and its members leave when they end.
  properties = {
    for name, cluster in var.clusters : name => merge(
      lookup(cluster.properties, "group.protocol", "classic") == "consumer" ? {} : { "session.timeout.ms" = tostring(var.session_timeout_seconds * 1000) },
      cluster.properties,
    )
  }
  # Of the cluster that keeps partitions longest.
  session_seconds = max(0, [for properties in values(local.properties) : tonumber(lookup(properties, "session.timeout.ms", "0")) / 1000]...)

  # Sizes as numbers, to be compared; 0 where they are none, which variables refuse.
  units = { "" = 1, k = 1000, K = 1024, M = 1000000, G = 1000000000, T = 1000000000000, Ki = 1024, Mi = 1048576, Gi = 1073741824, Ti = 1099511627776 }
  sizes = {
    for name, text in { memory = var.resources.memory, in_flight = trimsuffix(replace(var.limits.in_flight_bytes, " ", ""), "B") } :
    name => try(tonumber(regex("^[0-9.]+", text)) * local.units[regex("[A-Za-z]*$", text)], 0)
  }

  clusters = {
    for name, cluster in var.clusters : name => merge(
      {
        bootstrap_servers = cluster.bootstrap_servers
        security = { for field, value in {
          protocol        = cluster.security.protocol
          mechanism       = cluster.security.mechanism
          verify_hostname = cluster.security.verify_hostname ? null : false
          username        = cluster.security.credentials == null ? null : { env = "${local.variable_of[name]}_USERNAME" }
          password        = cluster.security.credentials == null ? null : { env = "${local.variable_of[name]}_PASSWORD" }
          ca              = cluster.security.ca == null ? null : "${local.files}/kafka-${name}-ca/ca.pem"
          certificate     = cluster.security.certificate == null ? null : "${local.files}/kafka-${name}-certificate/tls.crt"
          key             = cluster.security.certificate == null ? null : "${local.files}/kafka-${name}-certificate/tls.key"
        } : field => value if value != null }
      },
      length(local.properties[name]) == 0 ? {} : { properties = local.properties[name] },
      length(cluster.dead_letter_topics) == 0 ? {} : { dead_letter_topics = cluster.dead_letter_topics },
    )
  }

  configuration = merge(
    {
      listen = "0.0.0.0:${var.port}"
      access = { for field, value in {
        secrets_key      = { env = "FNBRIDGE_SECRETS_KEY" }
        behind_tls_proxy = var.tls == null ? true : null
        tls              = var.tls == null ? null : { certificate = "${local.files}/tls/tls.crt", key = "${local.files}/tls/tls.key" }
      } : field => value if value != null }
      # Host, database, user and password come from libpq's variables, out of the database's Secret.
      store    = "postgres:///?sslmode=${var.postgres.ssl_mode}"
      clusters = local.clusters
      limits   = var.limits
      telemetry = merge(
        { log = { format = "json", level = var.telemetry.log_level } },
        var.telemetry.otlp_endpoint == null ? {} : { otlp_endpoint = var.telemetry.otlp_endpoint },
      )
    },
    length(var.functions.allow) == 0 && var.functions.deny == null ? {} : {
      functions = merge({ allow = var.functions.allow }, var.functions.deny == null ? {} : { deny = var.functions.deny })
    },
  )

  files = "/etc/fnbridge"
}

# A file a pod, as each has its own id: a pod reads the one that is called as it is.
resource "kubernetes_config_map_v1" "configuration" {
  metadata {
    name      = var.name
    namespace = var.namespace
    labels    = local.labels
  }

  data = {
    for n in range(local.most_workers) : "${var.name}-${n}.yaml" => yamlencode(merge(
      local.configuration,
      { worker = { id = "${var.name}-${n}", labels = var.worker_labels } },
    ))
  }
}

resource "kubernetes_secret_v1" "access" {
  count = var.access == null ? 1 : 0

  metadata {
    name      = "${var.name}-access"
    namespace = var.namespace
    labels    = local.labels
  }

  data_wo = {
    "admin-token" = var.access_values.admin_token
    "secrets-key" = var.access_values.secrets_key
  }
  data_wo_revision = var.access_version
}

locals {
  access = var.access != null ? var.access : {
    secret          = "${var.name}-access"
    admin_token_key = "admin-token"
    secrets_key_key = "secrets-key"
  }
}
