variable "name" {
  description = "The pipeline's name."
  type        = string
  default     = "orders-enrich"
}

variable "topic" {
  description = "Where records come from."
  type        = string
  default     = "orders"
}

variable "results" {
  description = "The topic that results go to."
  type        = string
  default     = "orders-enriched"
}

variable "function_url" {
  description = "Where the function is."
  type        = string
  default     = "http://127.0.0.1:3000/"
}

variable "function_key" {
  description = "What the function wants after `Authorization: Bearer`. It is in no plan and in no state."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "function_key_version" {
  description = "Another number has another `function_key` sent."
  type        = number
  default     = 1
}
