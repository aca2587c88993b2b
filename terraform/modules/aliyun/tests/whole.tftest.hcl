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
      "Group/fnbridge-orders-enrich/Read", "Cluster/*/IdempotentWrite",
    ])
    error_message = "read the source, write the sink, both with dead letters, and idempotently, which is a right of its own before Kafka 3.0"
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

# Applied, on mocks, as the URL is known by then; without a Secret that is written, which OpenTofu's mocks can't apply.
run "a_pipeline_calls_the_function_and_waits_longer_than_it_may_take" {
  variables {
    kafka_user = { kms_encrypted_password = "Yg==", secret = "kafka-user" }
  }

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
  assert {
    condition = length(setsubtract(
      ["Topic/orders/DescribeConfigs", "Topic/orders-enriched/DescribeConfigs", "Topic/orders-enrich.dead-letter/DescribeConfigs"],
      keys(alicloud_alikafka_sasl_acl.workers),
    )) == 0 && !contains(keys(alicloud_alikafka_sasl_acl.workers), "Cluster/*/IdempotentWrite")
    error_message = "rights as Kafka 3 has them"
  }
}

run "a_password_that_kms_encrypted" {
  command = plan

  variables {
    kafka_user = { kms_encrypted_password = "Yg==", kms_encryption_context = { fleet = "fnbridge" }, secret = "kafka-user" }
  }

  assert {
    condition     = alicloud_alikafka_sasl_user.workers.kms_encrypted_password == "Yg==" && alicloud_alikafka_sasl_user.workers.password == null
    error_message = "the state has what KMS made of it"
  }
  assert {
    condition     = length(kubernetes_secret_v1.kafka) == 0
    error_message = "pods read the Secret that was named"
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

run "another_password_restarts_the_workers" {
  command = plan

  variables {
    kafka_user = { password = "another_password", version = 2 }
  }

  assert {
    condition     = kubernetes_secret_v1.kafka[0].data_wo_revision == 2 && module.workers.pod_annotations["fnbridge.dev/secrets"] == "1/2"
    error_message = "workers that know the old one alone would be refused at their next connection"
  }
}

run "an_endpoint_with_tls" {
  command = plan

  variables {
    kafka = {
      instance_id       = "alikafka_pre-cn-9"
      bootstrap_servers = "alikafka-9.example.com:9093"
      protocol          = "sasl_ssl"
      verify_hostname   = false
      ca                = { secret = "kafka-ca" }
    }
  }

  assert {
    condition = yamldecode(module.workers.configuration).clusters.default.security == {
      protocol        = "sasl_ssl"
      mechanism       = "SCRAM-SHA-256"
      verify_hostname = false
      username        = { env = "KAFKA_DEFAULT_USERNAME" }
      password        = { env = "KAFKA_DEFAULT_PASSWORD" }
      ca              = "/etc/fnbridge/kafka-default-ca/ca.pem"
    }
    error_message = "as the SSL endpoint wants it"
  }
}

# The autoscaler would be refused, did it not wait for the longest call.
run "a_fleet_has_what_the_module_for_kubernetes_has" {
  command = plan

  variables {
    functions = { enrich = { runtime = "python3.10", zip_file = "UEsFBgAA", timeout_seconds = 300 } }
    fleet = {
      namespace               = "streaming"
      image                   = "registry.example.com/fnbridge:0.1.0"
      image_pull_secrets      = ["acr"]
      postgres                = { secret = "fnbridge-db" }
      tls                     = { secret = "fnbridge-tls" }
      access                  = { secret = "fnbridge-access" }
      session_timeout_seconds = 20
      worker_labels           = { zone = "trusted" }
      limits                  = { in_flight_bytes = "128MiB" }
      telemetry               = { otlp_endpoint = "http://collector.observability:4318" }
      pod                     = { annotations = { "example.com/mesh" = "on" } }
      autoscaling             = { max_replicas = 4, token = { secret = "fnbridge-keda" } }
      monitoring              = { thresholds = { stuck_seconds = 600 } }
    }
  }

  assert {
    condition = {
      session   = yamldecode(module.workers.configuration).clusters.default.properties["session.timeout.ms"]
      labels    = yamldecode(module.workers.configuration).worker.labels
      limits    = yamldecode(module.workers.configuration).limits.in_flight_bytes
      telemetry = yamldecode(module.workers.configuration).telemetry.otlp_endpoint
      pod       = module.workers.pod_annotations["example.com/mesh"]
      } == {
      session   = "20000"
      labels    = { zone = "trusted" }
      limits    = "128MiB"
      telemetry = "http://collector.observability:4318"
      pod       = "on"
    }
    error_message = "what a fleet is given is passed on"
  }
}
