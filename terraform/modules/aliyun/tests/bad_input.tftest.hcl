# Each mistake is found before anything is made. A run makes as many at once as there are variables; all of them have to be found.

mock_provider "kubernetes" {}
mock_provider "fnbridge" {}
mock_provider "alicloud" {}

variables {
  network    = { vpc_id = "vpc-1", vswitch_ids = ["vsw-1"], security_group_id = "sg-1" }
  kafka      = { instance_id = "alikafka_pre-cn-9", bootstrap_servers = "alikafka-9.example.com:9094" }
  kafka_user = { password = "a_password_of_kafka" }
  functions  = { enrich = { runtime = "python3.10", zip_file = "UEsFBgAA" } }
  pipelines  = { orders-enrich = { topics = ["orders"], function = "enrich" } }
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

# The functions that pipelines name are only looked for where those are right.

run "two_instances_a_function_of_nothing_and_so_on" {
  command = plan

  variables {
    name             = "-"
    network          = { vpc_id = "default", vswitch_ids = [], security_group_id = "sg-1" }
    kafka            = { instance_id = "alikafka_pre-cn-9", bootstrap_servers = "kafka:9094", instance = {} }
    kafka_user       = { password = "short" }
    functions        = { enrich = { runtime = "python3.10" } }
    cluster_identity = { oidc_provider_arn = "ack", oidc_issuer = "http://x" }
    fleet = {
      namespace    = "streaming"
      image        = "registry.example.com/fnbridge:0.1.0"
      drain_margin = 0
      postgres     = { secret = "fnbridge-db" }
      tls          = { secret = "fnbridge-tls" }
      access       = { secret = "fnbridge-access" }
    }
  }

  expect_failures = [var.name, var.network, var.kafka, var.kafka_user, var.functions, var.cluster_identity, var.fleet]
}

run "an_instance_nobody_knows_how_to_reach_and_a_pipeline_of_a_function_that_there_is_not" {
  command = plan

  variables {
    kafka     = { instance_id = "alikafka_pre-cn-9" }
    pipelines = { orders-enrich = { topics = ["orders"], function = "enlarge" } }
  }

  expect_failures = [var.kafka, var.pipelines]
}

run "topics_without_partitions_and_a_loop" {
  command = plan

  variables {
    kafka     = { instance = {}, topics = { orders = { partitions = 0 } } }
    pipelines = { orders-enrich = { topics = ["orders"], sink = "orders", function = "enrich" } }
  }

  expect_failures = [var.kafka, var.pipelines]
}

run "a_function_that_takes_longer_than_a_call_may" {
  command = plan

  variables {
    functions = { enrich = { runtime = "python3.10", zip_file = "UEsFBgAA", timeout_seconds = 3600 } }
  }

  expect_failures = [var.functions]
}

run "memory_that_does_not_fit_the_cpu" {
  command = plan

  variables {
    functions = { enrich = { runtime = "python3.10", zip_file = "UEsFBgAA", cpu = 2, memory_mb = 512 } }
  }

  expect_failures = [var.functions]
}

run "an_image_for_a_built_in_runtime" {
  command = plan

  variables {
    functions = { enrich = { runtime = "python3.10", container = { image = "registry.example.com/enrich:1" } } }
  }

  expect_failures = [var.functions]
}

run "a_contract_that_functions_do_not_speak" {
  command = plan

  variables {
    pipelines = { orders-enrich = { topics = ["orders"], function = "enrich", contract = "aws_lambda" } }
  }

  expect_failures = [var.pipelines]
}

run "tls_where_there_is_none" {
  command = plan

  variables {
    kafka = { instance = {}, protocol = "sasl_ssl" }
  }

  expect_failures = [var.kafka]
}

run "a_certificate_that_nobody_would_look_at" {
  command = plan

  variables {
    kafka = { instance_id = "alikafka_pre-cn-9", bootstrap_servers = "alikafka-9.example.com:9094", ca = { secret = "kafka-ca" } }
  }

  expect_failures = [var.kafka]
}

run "a_password_that_no_pod_would_know" {
  command = plan

  variables {
    kafka_user = { kms_encrypted_password = "Yg==" }
  }

  expect_failures = [var.kafka_user]
}

run "names_that_no_right_can_be_granted_to" {
  command = plan

  variables {
    pipelines = { enrich-what-the-shops-of-all-of-our-countries-send-to-us = { topics = ["orders"], function = "enrich" } }
  }

  expect_failures = [var.pipelines]
}

run "a_topic_that_no_right_can_be_granted_to" {
  command = plan

  variables {
    pipelines = { enrich = { topics = ["orders.that.the.shops.of.all.of.our.countries.send.to.us.from.day.to.day"], function = "enrich" } }
  }

  expect_failures = [var.pipelines]
}
