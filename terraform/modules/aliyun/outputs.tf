output "url" {
  description = "Where the fleet's API is within the cluster."
  value       = module.workers.url
}

output "dns_names" {
  description = "The names that the certificate in `fleet.tls.secret` has to have."
  value       = module.workers.dns_names
}

output "kafka" {
  description = "The instance, and where workers reach it."
  value       = { instance_id = local.instance_id, bootstrap_servers = local.bootstrap_servers }
}

output "functions" {
  description = "Each function's name in Function Compute, and its URL within the VPC."
  value = {
    for name in keys(var.functions) : name => {
      function_name = alicloud_fcv3_function.this[name].function_name
      url           = one(alicloud_fcv3_trigger.this[name].http_trigger[*].url_intranet)
    }
  }
}

output "worker_role" {
  description = "The role that calls are signed with."
  value       = alicloud_ram_role.workers.arn
}

output "pipelines" {
  description = "The pipelines' names, groups and dead-letter topics."
  value = {
    for name in keys(var.pipelines) : name => {
      group             = local.groups[name]
      dead_letter_topic = "${name}.dead-letter"
    }
  }
}
