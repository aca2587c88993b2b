resource "fnbridge_pipeline" "this" {
  for_each = var.pipelines

  name     = each.key
  labels   = each.value.labels
  state    = each.value.state
  ordering = each.value.ordering

  source = {
    topics = each.value.topics
    group  = alicloud_alikafka_consumer_group.this[each.key].consumer_id
  }

  batch       = { max_records = each.value.max_records }
  concurrency = { max_in_flight = each.value.max_in_flight }
  retry       = { max_attempts = each.value.retry_attempts }

  function = {
    url          = one(alicloud_fcv3_trigger.this[each.value.function].http_trigger[*].url_intranet)
    contract     = each.value.contract
    timeout      = "${local.timeouts[each.key]}s"
    event_source = each.value.contract == "aliyun_fc" ? local.instance_id : null
    auth         = { type = "aliyun_acs3" }
  }

  dead_letter = { topic = "${each.key}.dead-letter" }

  sinks = [for topic in each.value.sink[*] : { name = "results", kafka = { topic = topic } }]

  # The fleet that it is registered with, and what its first record needs.
  depends_on = [
    module.workers,
    alicloud_alikafka_topic.this,
    alicloud_alikafka_sasl_acl.workers,
    alicloud_ram_role_policy_attachment.workers,
  ]
}
