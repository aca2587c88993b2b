# Kafka → Function Compute 3.0 → Kafka, with workers on ACK. README.md says what has to be there before.

terraform {
  required_version = ">= 1.11"

  required_providers {
    alicloud = {
      source  = "aliyun/alicloud"
      version = ">= 1.270"
    }
    fnbridge = {
      source  = "fnbridge/fnbridge"
      version = "~> 0.1"
    }
    kubernetes = {
      source  = "hashicorp/kubernetes"
      version = "~> 2.36"
    }
  }
}

provider "alicloud" {
  region = var.region
}

provider "kubernetes" {
  config_path    = var.kubeconfig
  config_context = var.context
}

provider "fnbridge" {
  url   = var.fnbridge_url
  token = var.admin_token
}

module "orders" {
  source = "../../modules/aliyun"

  name    = "fnbridge"
  network = var.network
  tags    = { team = "payments" }

  kafka = {
    instance = {
      service_version = "2.6.2"
    }
    topics = {
      orders          = { partitions = 24, remark = "as the shop sends them" }
      orders-enriched = { partitions = 24, remark = "of known customers" }
    }
  }

  kafka_user = { password = var.kafka_password }

  # functions/orders/aliyun_fc/package makes the zip.
  functions = {
    enrich = {
      runtime         = "python3.10"
      zip_file        = filebase64(var.function_package)
      timeout_seconds = 30
    }
  }

  pipelines = {
    orders-enrich = {
      topics   = ["orders"]
      function = "enrich"
      sink     = "orders-enriched"
      labels   = { team = "payments" }
    }
  }

  cluster_identity = var.cluster_identity

  fleet = {
    namespace = "streaming"
    image     = var.image
    postgres  = { secret = "fnbridge-db" }
    tls       = { secret = "fnbridge-tls", ca_key = "ca.crt" }
    access    = { secret = "fnbridge-access" }

    autoscaling = {
      max_replicas = 8
      token        = { secret = "fnbridge-keda" }
    }
    monitoring = {
      labels = { release = "prometheus" }
    }
  }
}
