output "kafka" {
  description = "The instance, and where clients in the VPC reach it."
  value       = module.orders.kafka
}

output "functions" {
  description = "The functions."
  value       = module.orders.functions
}

output "pipelines" {
  description = "The pipelines."
  value       = module.orders.pipelines
}
