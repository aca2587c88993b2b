output "url" {
  description = "Where the API is within the cluster, for `FNBRIDGE_URL` and the provider `fnbridge`."
  value       = "${local.scheme}://${local.host}:${var.port}"
}

output "dns_names" {
  description = "The names that the certificate in `tls.secret` has to have."
  value       = [var.name, "${var.name}.${var.namespace}", local.host, "*.${local.headless}.${var.namespace}.svc"]
}

output "service_name" {
  description = "The service in front of all workers that are ready."
  value       = kubernetes_service_v1.api.metadata[0].name
}

output "service_account_name" {
  description = "The workers' service account, for a cloud's role."
  value       = kubernetes_service_account_v1.workers.metadata[0].name
}

output "selector" {
  description = "The labels of the workers' pods."
  value       = local.selector
}

output "termination_grace_period_seconds" {
  description = "How long a worker may take to end: the drain, and 30 s."
  value       = local.termination_grace_period_seconds
}

output "configuration" {
  description = "What the first worker is given. Secrets are referred to, never in it."
  value       = kubernetes_config_map_v1.configuration.data["${var.name}-0.yaml"]
}

output "pod_annotations" {
  description = "The annotations of the workers' pods: another one restarts them, one after another."
  value       = kubernetes_stateful_set_v1.workers.spec[0].template[0].metadata[0].annotations
}
