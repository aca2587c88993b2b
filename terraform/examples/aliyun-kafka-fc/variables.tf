variable "region" {
  description = "The region, such as cn-hangzhou."
  type        = string
  default     = "cn-hangzhou"
}

variable "network" {
  description = "The VPC of the ACK cluster."
  type = object({
    vpc_id            = string
    vswitch_ids       = list(string)
    security_group_id = string
  })
}

variable "cluster_identity" {
  description = "The ACK cluster's OIDC provider: `rrsa_metadata` of alicloud_cs_managed_kubernetes has both."
  type = object({
    oidc_provider_arn = string
    oidc_issuer       = string
  })
}

variable "kubeconfig" {
  description = "The file that says how the cluster is reached."
  type        = string
  default     = "~/.kube/config"
}

variable "context" {
  description = "The context in it; null is the current one."
  type        = string
  default     = null
}

variable "image" {
  description = "The image of fnbridge."
  type        = string
}

variable "function_package" {
  description = "The function's zip."
  type        = string
  default     = "orders-fc.zip"
}

variable "kafka_password" {
  description = "The password of the workers' SASL user: 8 to 64 letters, digits and _."
  type        = string
  sensitive   = true
}

variable "fnbridge_url" {
  description = "Where this machine reaches the fleet, such as through an ingress or `kubectl port-forward`."
  type        = string
  default     = "https://localhost:8470"
}

variable "admin_token" {
  description = "The token in the Secret fnbridge-access."
  type        = string
  ephemeral   = true
  sensitive   = true
}
