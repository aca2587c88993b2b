variable "name" {
  description = "What everything is called, or begins with."
  type        = string
  default     = "fnbridge"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", var.name))
    error_message = "found ${jsonencode(var.name)}, expected 1 to 40 of a-z, 0-9 and -, beginning with a letter and not ending with -."
  }
}

variable "tags" {
  description = "Tags of what is made in Alibaba Cloud."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "network" {
  description = "The VPC that Kafka, workers and functions meet in."
  type = object({
    vpc_id            = string
    vswitch_ids       = list(string)
    security_group_id = string
  })
  nullable = false

  validation {
    condition     = startswith(var.network.vpc_id, "vpc-") && length(var.network.vswitch_ids) > 0 && alltrue([for id in var.network.vswitch_ids : startswith(id, "vsw-")])
    error_message = "found ${jsonencode(var.network)}, expected a vpc_id such as vpc-bp1…, and at least one of vswitch_ids, such as vsw-bp1…."
  }
}

variable "kafka" {
  description = <<-E
    The instance of ApsaraMQ for Kafka: one that is there (`instance_id`, with its SASL endpoint as `bootstrap_servers`, and whether it is `serverless`), or
    what a new one is to be (`instance`). `topics` are made in either; dead-letter topics and consumer groups of the pipelines are, too. `protocol` is
    sasl_plaintext within the VPC; sasl_ssl is for an SSL endpoint, with `ca`, the Secret of the fleet's namespace that has Alibaba Cloud's certificate.
  E
  type = object({
    instance_id       = optional(string)
    bootstrap_servers = optional(string)
    serverless        = optional(bool, false)
    instance = optional(object({
      type             = optional(string, "alikafka") # or alikafka_serverless
      deploy_type      = optional(number, 5)          # within the VPC alone
      service_version  = optional(string)
      io_max_spec      = optional(string, "alikafka.hw.2xlarge")
      disk_type        = optional(number, 1)
      disk_size        = optional(number, 500)
      publish_capacity = optional(number, 60)
      consume_capacity = optional(number, 60)
    }))
    topics = optional(map(object({
      partitions = optional(number, 12)
      remark     = optional(string, "fnbridge")
      configs    = optional(map(string), {})
    })), {})
    dead_letter_configs = optional(map(string), {
      "retention.ms"      = "31536000000" # a year: letters wait for somebody to see to them
      "max.message.bytes" = "10485760"    # a letter is larger than its record
    })
    protocol        = optional(string, "sasl_plaintext")
    verify_hostname = optional(bool, true)
    ca = optional(object({
      secret = string
      key    = optional(string, "ca.crt")
    }))
  })
  nullable = false

  validation {
    condition     = (var.kafka.instance_id == null) != (var.kafka.instance == null)
    error_message = "expected one of kafka.instance_id, an instance that is there, and kafka.instance, a new one."
  }

  validation {
    condition     = (var.kafka.instance_id == null) == (var.kafka.bootstrap_servers == null)
    error_message = "kafka.bootstrap_servers goes with kafka.instance_id, and with it alone: a new instance tells its own."
  }

  validation {
    condition     = contains(["alikafka", "alikafka_serverless"], try(var.kafka.instance.type, "alikafka"))
    error_message = "found kafka.instance.type ${jsonencode(try(var.kafka.instance.type, null))}, expected alikafka or alikafka_serverless."
  }

  validation {
    condition     = contains(["sasl_plaintext", "sasl_ssl"], var.kafka.protocol)
    error_message = "found kafka.protocol ${jsonencode(var.kafka.protocol)}, expected sasl_plaintext, for within the VPC, or sasl_ssl."
  }

  validation {
    condition     = var.kafka.protocol != "sasl_ssl" || var.kafka.bootstrap_servers != null
    error_message = "kafka.protocol sasl_ssl needs kafka.instance_id and its SSL endpoint as kafka.bootstrap_servers: within the VPC, where the endpoint of a new instance is, there is no TLS."
  }

  validation {
    condition     = var.kafka.ca == null || var.kafka.protocol == "sasl_ssl"
    error_message = "found kafka.ca and kafka.protocol ${jsonencode(var.kafka.protocol)}, expected ca with sasl_ssl alone: nothing else has a certificate to verify."
  }

  validation {
    condition     = !var.kafka.serverless || var.kafka.instance_id != null
    error_message = "kafka.serverless says what kafka.instance_id is; a new instance is serverless by kafka.instance.type, alikafka_serverless."
  }

  validation {
    condition     = alltrue([for topic in values(var.kafka.topics) : topic.partitions >= 1 && topic.partitions <= 360])
    error_message = "found kafka.topics with ${jsonencode([for topic in values(var.kafka.topics) : topic.partitions])} partitions, expected 1 to 360."
  }

  validation {
    condition     = alltrue([for name in keys(var.kafka.topics) : can(regex("^[A-Za-z0-9._-]{3,64}$", name))])
    error_message = "found topics ${jsonencode(keys(var.kafka.topics))}, expected names of 3 to 64 letters, digits, dots, _ and -."
  }
}

variable "kafka_user" {
  description = <<-E
    The workers' SASL user. Its `password` stands in the state, where alicloud_alikafka_sasl_user keeps it; pods get it from a Secret that is written and
    never read. A password that KMS encrypted stands there as it is encrypted (`kms_encrypted_password`, with its `kms_encryption_context`): then `secret`
    is the Secret of the fleet's namespace that has `username` and `password`. Another `version` writes the Secret anew, and restarts the workers.
  E
  type = object({
    username               = optional(string, "fnbridge")
    password               = optional(string)
    kms_encrypted_password = optional(string)
    kms_encryption_context = optional(map(string))
    secret                 = optional(string)
    version                = optional(number, 1)
  })
  nullable  = false
  sensitive = true

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.kafka_user.username)) && can(regex("^[A-Za-z0-9_]{8,64}$", coalesce(var.kafka_user.password, "not_stated")))
    error_message = "expected a username of letters, digits, _ and -, and a password of 8 to 64 letters, digits and _."
  }

  validation {
    condition     = (var.kafka_user.password == null) != (var.kafka_user.kms_encrypted_password == null) && (var.kafka_user.kms_encrypted_password == null) == (var.kafka_user.secret == null)
    error_message = "expected either kafka_user.password, or kafka_user.kms_encrypted_password together with kafka_user.secret, the Secret that pods read it from."
  }
}

variable "functions" {
  description = <<-E
    Functions of Function Compute 3.0, by name: code in a bucket (`oss`) or at hand (`zip_file`, base64), for a built-in runtime or a custom one
    (`server`), or an image (`container`). `log` is where what they print goes; a role that may write there is made.
  E
  type = map(object({
    runtime = string
    handler = optional(string, "index.handler")
    oss = optional(object({
      bucket   = string
      object   = string
      checksum = optional(string) # CRC-64; a change is a new deployment
    }))
    zip_file = optional(string)
    container = optional(object({
      image      = string
      port       = optional(number, 9000)
      command    = optional(list(string))
      entrypoint = optional(list(string))
    }))
    server = optional(object({
      command = list(string)
      args    = optional(list(string), [])
      port    = optional(number, 9000)
    }))
    cpu                  = optional(number, 0.5)
    memory_mb            = optional(number, 512)
    disk_mb              = optional(number, 512)
    timeout_seconds      = optional(number, 30)
    instance_concurrency = optional(number, 1)
    in_vpc               = optional(bool, false)
    environment          = optional(map(string), {})
    log = optional(object({
      project  = string
      logstore = string
    }))
  }))
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.functions) : can(regex("^[A-Za-z_][A-Za-z0-9_-]{0,63}$", name))])
    error_message = "found functions ${jsonencode(keys(var.functions))}, expected names of 1 to 64 letters, digits, _ and -, not beginning with a digit."
  }

  validation {
    condition = alltrue([
      for function in values(var.functions) :
      length([for source in [function.oss == null ? null : "oss", function.zip_file, function.container == null ? null : "container"] : source if source != null]) == 1
    ])
    error_message = "found ${jsonencode({ for name, function in var.functions : name => [for source in ["oss", "zip_file", "container"] : source if function[source] != null] })}, expected each function to have one of oss, zip_file and container."
  }

  validation {
    condition     = alltrue([for function in values(var.functions) : (function.container != null) == (function.runtime == "custom-container")])
    error_message = "found runtimes ${jsonencode({ for name, function in var.functions : name => function.runtime })}, expected custom-container with container, and with it alone."
  }

  validation {
    condition     = alltrue([for function in values(var.functions) : function.server == null || startswith(function.runtime, "custom.")])
    error_message = "server is for custom runtimes, such as custom.debian12."
  }

  validation {
    condition     = alltrue([for function in values(var.functions) : function.timeout_seconds >= 1 && function.timeout_seconds <= 890])
    error_message = "found timeout_seconds ${jsonencode([for function in values(var.functions) : function.timeout_seconds])}, expected 1 to 890: fnbridge waits 10 s longer, and 15 minutes at the most."
  }

  validation {
    condition     = alltrue([for function in values(var.functions) : function.memory_mb % 64 == 0 && function.memory_mb >= 128 && function.memory_mb / 1024 / function.cpu >= 1 && function.memory_mb / 1024 / function.cpu <= 4])
    error_message = "found cpu and memory_mb ${jsonencode([for function in values(var.functions) : [function.cpu, function.memory_mb]])}, expected a multiple of 64 MB, 1 to 4 GB for each CPU."
  }

  validation {
    condition     = alltrue([for function in values(var.functions) : function.instance_concurrency == 1 || startswith(function.runtime, "custom")])
    error_message = "instance_concurrency above 1 is for custom runtimes and containers: a built-in runtime handles one request at a time."
  }
}

variable "pipelines" {
  description = <<-E
    Pipelines, by name: topics → `function`, one of `functions` → `sink`, a topic. Dead letters go to `<name>.dead-letter`, which is made with
    the partitions of the first topic, where that is one of `kafka.topics`.
  E
  type = map(object({
    topics         = list(string)
    function       = string
    sink           = optional(string)
    contract       = optional(string, "aliyun_fc")
    ordering       = optional(string, "partition")
    max_records    = optional(number, 100)
    max_in_flight  = optional(number, 16)
    retry_attempts = optional(number, 5)
    state          = optional(string, "running")
    labels         = optional(map(string), {})
  }))
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.pipelines) : can(regex("^[a-z0-9][a-z0-9-]{0,51}$", name))])
    error_message = "found pipelines ${jsonencode(keys(var.pipelines))}, expected names of 1 to 52 of a-z, 0-9 and -, beginning with a letter or digit: with .dead-letter they name topics, which Alibaba Cloud grants rights to by 64 characters at the most."
  }

  validation {
    condition     = alltrue([for topic in concat(flatten(values(var.pipelines)[*].topics), compact(values(var.pipelines)[*].sink)) : length(topic) <= 64])
    error_message = "found topics ${jsonencode(distinct(concat(flatten(values(var.pipelines)[*].topics), compact(values(var.pipelines)[*].sink))))}, expected names of 64 characters at the most, which Alibaba Cloud grants rights to."
  }

  validation {
    condition     = alltrue([for pipeline in values(var.pipelines) : contains(keys(var.functions), pipeline.function)])
    error_message = "found function ${jsonencode([for pipeline in values(var.pipelines) : pipeline.function])}, expected one of ${jsonencode(keys(var.functions))}."
  }

  validation {
    condition     = alltrue([for pipeline in values(var.pipelines) : length(pipeline.topics) > 0 && !contains(pipeline.topics, coalesce(pipeline.sink, "/"))])
    error_message = "found topics and sinks ${jsonencode({ for name, pipeline in var.pipelines : name => [pipeline.topics, pipeline.sink] })}, expected each pipeline to have topics, and a sink that is none of them."
  }

  validation {
    condition     = alltrue([for pipeline in values(var.pipelines) : contains(["aliyun_fc", "json"], pipeline.contract)])
    error_message = "found contract ${jsonencode([for pipeline in values(var.pipelines) : pipeline.contract])}, expected aliyun_fc, the events of Alibaba Cloud's own Kafka triggers, or json."
  }

  validation {
    condition     = alltrue([for pipeline in values(var.pipelines) : contains(["partition", "key", "none"], pipeline.ordering)])
    error_message = "found ordering ${jsonencode([for pipeline in values(var.pipelines) : pipeline.ordering])}, expected partition, key or none."
  }
}

variable "cluster_identity" {
  description = "The ACK cluster's OIDC provider (RRSA), by which its pods have roles: ARN and issuer."
  type = object({
    oidc_provider_arn = string
    oidc_issuer       = string
  })
  nullable = false

  validation {
    condition     = can(regex("^acs:ram::[0-9]+:oidc-provider/.+$", var.cluster_identity.oidc_provider_arn)) && startswith(var.cluster_identity.oidc_issuer, "https://")
    error_message = "found ${jsonencode(var.cluster_identity)}, expected oidc_provider_arn acs:ram::ACCOUNT:oidc-provider/NAME and oidc_issuer https://…."
  }
}

variable "fleet" {
  description = "The workers on ACK, as the module `kubernetes` takes them: namespace, image, the Secrets that are there, and what else it has variables for."
  type = object({
    namespace               = string
    image                   = string
    image_pull_secrets      = optional(list(string))
    replicas                = optional(number, 3)
    drain_margin            = optional(number, 5) # seconds above the longest call
    session_timeout_seconds = optional(number)
    secrets_version         = optional(string, "1")
    max_unavailable         = optional(number)
    labels                  = optional(map(string))
    worker_labels           = optional(map(string))
    postgres = object({
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
    tls = object({
      secret = string
      ca_key = optional(string)
    })
    access = object({
      secret          = string
      admin_token_key = optional(string, "admin-token")
      secrets_key_key = optional(string, "secrets-key")
    })
    resources = optional(object({
      cpu       = optional(string, "500m")
      cpu_limit = optional(string)
      memory    = optional(string, "512Mi")
    }))
    limits = optional(object({
      in_flight_bytes = optional(string, "96MiB")
      prefetch_bytes  = optional(string, "32MiB")
    }))
    telemetry = optional(object({
      otlp_endpoint = optional(string)
      log_level     = optional(string, "info")
    }))
    environment = optional(map(object({
      secret = string
      key    = string
    })))
    pod = optional(object({
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
    }))
    network_policy = optional(object({
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
    }), {})
    autoscaling = optional(object({
      min_replicas                = optional(number, 2)
      max_replicas                = number
      undispatched_records        = optional(number, 10000)
      oldest_undispatched_seconds = optional(number, 30)
      polling_seconds             = optional(number, 15)
      scale_down_after_seconds    = optional(number, 600)
      # A worker has left its groups by then, after a drain of the longest call.
      seconds_between_removals = optional(number)
      tls_verify               = optional(bool, true)
      namespace                = optional(string, "keda")
      token = object({
        secret = string
        key    = optional(string, "token")
      })
    }))
    monitoring = optional(object({
      namespace        = optional(string, "monitoring")
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
    }))
  })
  nullable = false

  validation {
    condition     = var.fleet.drain_margin >= 5
    error_message = "found drain_margin ${var.fleet.drain_margin}, expected at least 5: a pipeline's drain takes 5 s more than its longest call."
  }
}
