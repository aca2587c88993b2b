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

variable "namespace" {
  description = "The fleet's namespace, with the Secrets that README.md lists."
  type        = string
  default     = "streaming"
}

variable "image" {
  description = "The image of fnbridge."
  type        = string
}

variable "bootstrap_servers" {
  description = "Kafka's brokers: host:port, separated by commas."
  type        = string
}

variable "fnbridge_url" {
  description = "Where this machine reaches the fleet, such as through an ingress or `kubectl port-forward`."
  type        = string
  default     = "https://localhost:8470"
}

variable "admin_token" {
  description = "The first token: 32 characters and more, such as of `openssl rand -base64 32`."
  type        = string
  ephemeral   = true
  sensitive   = true
}

variable "secrets_key" {
  description = "What secrets are encrypted with: `openssl rand -base64 32`."
  type        = string
  ephemeral   = true
  sensitive   = true
}
