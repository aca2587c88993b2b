# The role that pods of the fleet's service account have, and no other pod: it calls the functions.
resource "alicloud_ram_role" "workers" {
  role_name   = "${var.name}-workers"
  description = "Workers of the fleet ${var.fleet.namespace}/${var.name}"
  tags        = var.tags
  assume_role_policy_document = jsonencode({
    Version = "1"
    Statement = [{
      Action    = "sts:AssumeRole"
      Effect    = "Allow"
      Principal = { Federated = [var.cluster_identity.oidc_provider_arn] }
      Condition = { StringEquals = {
        "oidc:aud" = ["sts.aliyuncs.com"]
        "oidc:iss" = [var.cluster_identity.oidc_issuer]
        "oidc:sub" = ["system:serviceaccount:${var.fleet.namespace}:${var.name}"]
      } }
    }]
  })
}

resource "alicloud_ram_policy" "workers" {
  policy_name = "${var.name}-workers"
  description = "Workers of the fleet ${var.fleet.namespace}/${var.name} call its functions"
  tags        = var.tags
  policy_document = jsonencode({
    Version = "1"
    Statement = [{
      Action   = ["fc:InvokeFunction"]
      Effect   = "Allow"
      Resource = sort([for name in keys(var.functions) : "acs:fc:*:*:functions/${var.name}-${name}"])
    }]
  })
}

resource "alicloud_ram_role_policy_attachment" "workers" {
  role_name   = alicloud_ram_role.workers.role_name
  policy_name = alicloud_ram_policy.workers.policy_name
  policy_type = "Custom"
}

resource "kubernetes_secret_v1" "kafka" {
  count = local.kafka_secret == null ? 1 : 0

  metadata {
    name      = "${var.name}-kafka"
    namespace = var.fleet.namespace
    labels    = var.fleet.labels
  }

  data_wo = {
    username = var.kafka_user.username
    password = var.kafka_user.password
  }
  data_wo_revision = var.kafka_user.version
}

locals {
  # Which Secret it is, and which version, tell nothing of what is in it.
  kafka_secret  = nonsensitive(var.kafka_user.secret)
  kafka_version = nonsensitive(var.kafka_user.version)

  drain_seconds = max(30, values(local.timeouts)...) + var.fleet.drain_margin

  # A call is waited for as long as its function may take, and 10 s for what lies between.
  timeouts = { for name, pipeline in var.pipelines : name => var.functions[pipeline.function].timeout_seconds + 10 }
}

module "workers" {
  source = "../kubernetes"

  name                  = var.name
  namespace             = var.fleet.namespace
  image                 = var.fleet.image
  replicas              = var.fleet.replicas
  drain_timeout_seconds = local.drain_seconds

  clusters = {
    default = {
      bootstrap_servers = local.bootstrap_servers
      security = {
        protocol        = var.kafka.protocol
        mechanism       = local.mechanism
        credentials     = { secret = local.kafka_secret != null ? local.kafka_secret : kubernetes_secret_v1.kafka[0].metadata[0].name }
        ca              = var.kafka.ca
        verify_hostname = var.kafka.verify_hostname
      }
    }
  }

  postgres = var.fleet.postgres
  tls      = var.fleet.tls
  access   = var.fleet.access
  # Workers hold the password that they started with.
  secrets_version = "${var.fleet.secrets_version}/${local.kafka_version}"

  image_pull_secrets      = var.fleet.image_pull_secrets
  session_timeout_seconds = var.fleet.session_timeout_seconds
  max_unavailable         = var.fleet.max_unavailable
  labels                  = var.fleet.labels
  worker_labels           = var.fleet.worker_labels
  resources               = var.fleet.resources
  limits                  = var.fleet.limits
  telemetry               = var.fleet.telemetry
  environment             = var.fleet.environment
  pod                     = var.fleet.pod
  network_policy          = var.fleet.network_policy
  monitoring              = var.fleet.monitoring
  autoscaling = var.fleet.autoscaling == null ? null : merge(var.fleet.autoscaling, {
    seconds_between_removals = coalesce(var.fleet.autoscaling.seconds_between_removals, max(120, local.drain_seconds + coalesce(var.fleet.session_timeout_seconds, 45)))
  })

  # ACK's pod-identity webhook gives pods the role, in namespaces with the label pod-identity.alibabacloud.com/injection: on.
  service_account_annotations = { "pod-identity.alibabacloud.com/role-name" = alicloud_ram_role.workers.role_name }
}
