# From a topic to a function and back to a topic, with a new instance of Kafka.

mock_provider "kubernetes" {}
mock_provider "fnbridge" {}
mock_provider "alicloud" {
  mock_resource "alicloud_alikafka_instance" {
    defaults = {
      id                   = "alikafka_post-cn-1"
      sasl_domain_endpoint = "alikafka-1.example.com:9094"
    }
  }
  mock_resource "alicloud_fcv3_trigger" {
    defaults = {
      http_trigger = [{ url_internet = "", url_intranet = "https://enrich.cn-hangzhou-vpc.fcapp.run" }]
    }
  }
  mock_resource "alicloud_ram_role" {
    defaults = { arn = "acs:ram::1:role/x" }
  }
}

variables {
  network = { vpc_id = "vpc-1", vswitch_ids = ["vsw-1", "vsw-2"], security_group_id = "sg-1" }
  kafka = {
    instance = {}
    topics   = { orders = { partitions = 24 }, orders-enriched = { partitions = 24 } }
  }
  kafka_user = { password = "a_password_of_kafka" }
  functions = {
    enrich = {
      runtime         = "python3.10"
      oss             = { bucket = "code", object = "orders-fc.zip" }
      timeout_seconds = 60
      log             = { project = "logs", logstore = "functions" }
    }
  }
  pipelines = {
    orders-enrich = { topics = ["orders"], function = "enrich", sink = "orders-enriched" }
  }
  cluster_identity = {
    oidc_provider_arn = "acs:ram::1:oidc-provider/ack-rrsa-c1"
    oidc_issuer       = "https://oidc-ack-cn-hangzhou.example.com/c1"
  }
  fleet = {
    namespace = "streaming"
    image     = "registry.example.com/fnbridge:0.1.0"
    postgres  = { secret = "fnbridge-db" }
    tls       = { secret = "fnbridge-tls" }
    access    = { secret = "fnbridge-access" }
  }
}

run "topics_and_groups_of_the_pipelines_are_there" {
  command = plan

  assert {
    condition     = { for name, topic in alicloud_alikafka_topic.this : name => topic.partition_num } == { orders = 24, "orders-enriched" = 24, "orders-enrich.dead-letter" = 24 }
    error_message = "the dead-letter topic has its source's partitions"
  }
  assert {
    condition     = jsondecode(alicloud_alikafka_topic.this["orders-enrich.dead-letter"].configs)["retention.ms"] == "31536000000"
    error_message = "dead letters are kept for a year"
  }
  assert {
    condition     = alicloud_alikafka_consumer_group.this["orders-enrich"].consumer_id == "fnbridge-orders-enrich" && fnbridge_pipeline.this["orders-enrich"].source.group == "fnbridge-orders-enrich"
    error_message = "the group is the one that the pipeline is in"
  }
  assert {
    condition     = jsondecode(alicloud_alikafka_instance.this[0].config) == { "enable.acl" = "true" }
    error_message = "rights are asked for"
  }
}

run "workers_may_do_what_pipelines_need_and_no_more" {
  command = plan

  assert {
    condition = toset(keys(alicloud_alikafka_sasl_acl.workers)) == toset([
      "Topic/orders/Read", "Topic/orders-enriched/Write",
      "Topic/orders-enrich.dead-letter/Read", "Topic/orders-enrich.dead-letter/Write",
      "Group/fnbridge-orders-enrich/Read",
    ])
    error_message = "read the source, write the sink, both with dead letters"
  }
  assert {
    condition = jsondecode(alicloud_ram_policy.workers.policy_document).Statement == [
      { Action = ["fc:InvokeFunction"], Effect = "Allow", Resource = ["acs:fc:*:*:functions/fnbridge-enrich"] },
    ]
    error_message = "call these functions"
  }
  assert {
    condition     = jsondecode(alicloud_ram_role.workers.assume_role_policy_document).Statement[0].Condition.StringEquals["oidc:sub"] == ["system:serviceaccount:streaming:fnbridge"]
    error_message = "the role is the fleet's service account's alone"
  }
}

run "functions_answer_signed_calls_and_write_their_log" {
  command = plan

  assert {
    condition     = jsondecode(alicloud_fcv3_trigger.this["enrich"].trigger_config) == { authType = "function", methods = ["POST"], disableURLInternet = true }
    error_message = "no anonymous calls, none from the internet"
  }
  assert {
    condition     = alicloud_fcv3_trigger.this["enrich"].trigger_type == "http" && alicloud_fcv3_trigger.this["enrich"].function_name == "fnbridge-enrich"
    error_message = "an HTTP trigger of the function"
  }
  assert {
    condition     = jsondecode(alicloud_ram_policy.function["enrich"].policy_document).Statement[0].Resource == ["acs:log:*:*:project/logs/logstore/functions"]
    error_message = "this logstore"
  }
}

# Applied, on mocks, as the URL is known by then.
run "a_pipeline_calls_the_function_and_waits_longer_than_it_may_take" {
  assert {
    condition     = fnbridge_pipeline.this["orders-enrich"].function.url == "https://enrich.cn-hangzhou-vpc.fcapp.run"
    error_message = "within the VPC"
  }
  assert {
    condition     = fnbridge_pipeline.this["orders-enrich"].function.timeout == "70s" && alicloud_fcv3_function.this["enrich"].timeout == 60
    error_message = "a function that is cut off has to be able to say so"
  }
  assert {
    condition     = fnbridge_pipeline.this["orders-enrich"].function.contract == "aliyun_fc" && fnbridge_pipeline.this["orders-enrich"].function.auth.type == "aliyun_acs3"
    error_message = "as Alibaba Cloud's own triggers call, signed"
  }
  assert {
    condition     = fnbridge_pipeline.this["orders-enrich"].sinks[0].kafka.topic == "orders-enriched"
    error_message = "results go back to Kafka"
  }
}

run "a_serverless_instance" {
  command = plan

  variables {
    kafka = { instance = { type = "alikafka_serverless" } }
  }

  assert {
    condition     = alicloud_alikafka_instance.this[0].serverless_config[0].reserved_publish_capacity == 60 && alicloud_alikafka_instance.this[0].disk_type == null
    error_message = "capacity in place of disks"
  }
  assert {
    condition     = alicloud_alikafka_topic.this["orders-enrich.dead-letter"].partition_num == 12
    error_message = "a source that is not made here says nothing of its partitions"
  }
}

run "an_instance_that_is_there" {
  command = plan

  variables {
    kafka = { instance_id = "alikafka_pre-cn-9", bootstrap_servers = "alikafka-9.example.com:9094" }
  }

  assert {
    condition     = length(alicloud_alikafka_instance.this) == 0 && alicloud_alikafka_sasl_user.workers.instance_id == "alikafka_pre-cn-9"
    error_message = "none is made"
  }
  assert {
    condition     = output.kafka.bootstrap_servers == "alikafka-9.example.com:9094"
    error_message = "it is reached where it was said to be"
  }
}

run "a_container" {
  command = plan

  variables {
    functions = {
      enrich = {
        runtime              = "custom-container"
        container            = { image = "registry.example.com/enrich:1" }
        instance_concurrency = 8
        in_vpc               = true
      }
    }
  }

  assert {
    condition     = alicloud_fcv3_function.this["enrich"].custom_container_config[0].image == "registry.example.com/enrich:1" && length(alicloud_fcv3_function.this["enrich"].code) == 0
    error_message = "an image in place of code"
  }
  assert {
    condition     = alicloud_fcv3_function.this["enrich"].vpc_config[0].vpc_id == "vpc-1" && length(alicloud_ram_role.function) == 0
    error_message = "in the VPC; without a log, without a role"
  }
}
