locals {
  logging = { for name, function in var.functions : name => function.log if function.log != null }
}

# What a function may do: write its log. Without one, it has no role.
resource "alicloud_ram_role" "function" {
  for_each = local.logging

  role_name   = "${var.name}-fc-${each.key}"
  description = "The function ${each.key} writes its log"
  tags        = var.tags
  assume_role_policy_document = jsonencode({
    Version = "1"
    Statement = [{
      Action    = "sts:AssumeRole"
      Effect    = "Allow"
      Principal = { Service = ["fc.aliyuncs.com"] }
    }]
  })
}

resource "alicloud_ram_policy" "function" {
  for_each = local.logging

  policy_name = "${var.name}-fc-${each.key}"
  description = "The function ${each.key} writes its log"
  tags        = var.tags
  policy_document = jsonencode({
    Version = "1"
    Statement = [{
      Action   = ["log:PostLogStoreLogs"]
      Effect   = "Allow"
      Resource = ["acs:log:*:*:project/${each.value.project}/logstore/${each.value.logstore}"]
    }]
  })
}

resource "alicloud_ram_role_policy_attachment" "function" {
  for_each = local.logging

  role_name   = alicloud_ram_role.function[each.key].role_name
  policy_name = alicloud_ram_policy.function[each.key].policy_name
  policy_type = "Custom"
}

resource "alicloud_fcv3_function" "this" {
  for_each = var.functions

  function_name         = "${var.name}-${each.key}"
  runtime               = each.value.runtime
  handler               = each.value.handler
  cpu                   = each.value.cpu
  memory_size           = each.value.memory_mb
  disk_size             = each.value.disk_mb
  timeout               = each.value.timeout_seconds
  instance_concurrency  = each.value.instance_concurrency
  environment_variables = each.value.environment
  role                  = try(alicloud_ram_role.function[each.key].arn, null)
  tags                  = var.tags

  dynamic "code" {
    for_each = each.value.oss[*]
    content {
      oss_bucket_name = code.value.bucket
      oss_object_name = code.value.object
      checksum        = code.value.checksum
    }
  }

  dynamic "code" {
    for_each = each.value.zip_file[*]
    content {
      zip_file = code.value
    }
  }

  dynamic "custom_container_config" {
    for_each = each.value.container[*]
    content {
      image      = custom_container_config.value.image
      port       = custom_container_config.value.port
      command    = custom_container_config.value.command
      entrypoint = custom_container_config.value.entrypoint
    }
  }

  dynamic "custom_runtime_config" {
    for_each = each.value.server[*]
    content {
      command = custom_runtime_config.value.command
      args    = custom_runtime_config.value.args
      port    = custom_runtime_config.value.port
    }
  }

  dynamic "vpc_config" {
    for_each = each.value.in_vpc ? [var.network] : []
    content {
      vpc_id            = vpc_config.value.vpc_id
      vswitch_ids       = vpc_config.value.vswitch_ids
      security_group_id = vpc_config.value.security_group_id
    }
  }

  dynamic "log_config" {
    for_each = each.value.log[*]
    content {
      project        = log_config.value.project
      logstore       = log_config.value.logstore
      log_begin_rule = "None"
    }
  }

  depends_on = [alicloud_ram_role_policy_attachment.function]
}

# Calls are signed with the workers' role; nobody else's are answered.
resource "alicloud_fcv3_trigger" "this" {
  for_each = var.functions

  function_name  = alicloud_fcv3_function.this[each.key].function_name
  trigger_name   = "fnbridge"
  trigger_type   = "http"
  qualifier      = "LATEST"
  trigger_config = jsonencode({ authType = "function", methods = ["POST"], disableURLInternet = true })
}
