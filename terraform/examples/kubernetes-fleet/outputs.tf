output "url" {
  description = "Where the fleet's API is within the cluster."
  value       = module.fleet.url
}

output "dns_names" {
  description = "The names that the certificate in the Secret fnbridge-tls has to have."
  value       = module.fleet.dns_names
}
