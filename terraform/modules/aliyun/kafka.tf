resource "alicloud_alikafka_instance" "this" {
  count = var.kafka.instance == null ? 0 : 1

  name            = var.name
  instance_type   = var.kafka.instance.type
  deploy_type     = var.kafka.instance.deploy_type
  service_version = var.kafka.instance.service_version
  vpc_id          = var.network.vpc_id
  vswitch_ids     = var.network.vswitch_ids
  security_group  = var.network.security_group_id
  tags            = var.tags

  disk_type   = local.is_serverless ? null : var.kafka.instance.disk_type
  disk_size   = local.is_serverless ? null : var.kafka.instance.disk_size
  io_max_spec = local.is_serverless ? null : var.kafka.instance.io_max_spec
  # Without it, rights are kept and not asked for.
  config = local.is_serverless ? null : jsonencode({ "enable.acl" = "true" })

  dynamic "serverless_config" {
    for_each = local.is_serverless ? [var.kafka.instance] : []
    content {
      reserved_publish_capacity   = serverless_config.value.publish_capacity
      reserved_subscribe_capacity = serverless_config.value.consume_capacity
    }
  }
}

locals {
  is_serverless     = var.kafka.serverless || try(var.kafka.instance.type, "") == "alikafka_serverless"
  instance_id       = var.kafka.instance_id != null ? var.kafka.instance_id : alicloud_alikafka_instance.this[0].id
  bootstrap_servers = var.kafka.bootstrap_servers != null ? var.kafka.bootstrap_servers : alicloud_alikafka_instance.this[0].sasl_domain_endpoint

  groups = { for name in keys(var.pipelines) : name => "fnbridge-${name}" }

  dead_letter_topics = {
    for name, pipeline in var.pipelines : "${name}.dead-letter" => {
      partitions = try(var.kafka.topics[pipeline.topics[0]].partitions, 12)
      remark     = "dead letters of ${name}"
      configs    = var.kafka.dead_letter_configs
    }
  }
  topics = merge(var.kafka.topics, local.dead_letter_topics)

  # What workers do: read sources, write sinks, and both with dead letters, which are redriven.
  reads  = distinct(concat(flatten(values(var.pipelines)[*].topics), keys(local.dead_letter_topics)))
  writes = distinct(concat(compact(values(var.pipelines)[*].sink), keys(local.dead_letter_topics)))
  rights = merge(
    { for topic in local.reads : "Topic/${topic}/Read" => { type = "Topic", name = topic, operation = "Read" } },
    { for topic in local.writes : "Topic/${topic}/Write" => { type = "Topic", name = topic, operation = "Write" } },
    { for group in values(local.groups) : "Group/${group}/Read" => { type = "Group", name = group, operation = "Read" } },
    # Producers are idempotent. From Kafka 3.0 on, which serverless instances have, who may write a topic may do that; there, seeing a topic's settings is a right.
    local.is_serverless ? {
      for topic in distinct(concat(local.reads, local.writes)) : "Topic/${topic}/DescribeConfigs" => { type = "Topic", name = topic, operation = "DESCRIBE_CONFIGS" }
    } : { "Cluster/*/IdempotentWrite" = { type = "Cluster", name = "*", operation = "IdempotentWrite" } },
  )
}

resource "alicloud_alikafka_topic" "this" {
  for_each = local.topics

  instance_id   = local.instance_id
  topic         = each.key
  partition_num = each.value.partitions
  remark        = each.value.remark
  configs       = length(each.value.configs) == 0 ? null : jsonencode(each.value.configs)
  tags          = var.tags
}

resource "alicloud_alikafka_consumer_group" "this" {
  for_each = local.groups

  instance_id = local.instance_id
  consumer_id = each.value
  remark      = "pipeline ${each.key}"
  tags        = var.tags
}

resource "alicloud_alikafka_sasl_user" "workers" {
  instance_id = local.instance_id
  username    = var.kafka_user.username
  type        = "scram"
  mechanism   = local.is_serverless ? local.mechanism : null

  password               = var.kafka_user.password
  kms_encrypted_password = var.kafka_user.kms_encrypted_password
  kms_encryption_context = var.kafka_user.kms_encryption_context
}

locals {
  # Instances that are not serverless have this one alone.
  mechanism = "SCRAM-SHA-256"
}

resource "alicloud_alikafka_sasl_acl" "workers" {
  for_each = local.rights

  instance_id               = local.instance_id
  username                  = alicloud_alikafka_sasl_user.workers.username
  acl_resource_type         = each.value.type
  acl_resource_name         = each.value.name
  acl_resource_pattern_type = "LITERAL"
  acl_operation_type        = each.value.operation

  depends_on = [alicloud_alikafka_topic.this, alicloud_alikafka_consumer_group.this]
}
