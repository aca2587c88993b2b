variable "api_key" {
  type      = string
  ephemeral = true
}

resource "fnbridge_secret" "api_key" {
  name             = "payments-api-key"
  value_wo         = var.api_key
  value_wo_version = 1 # another number writes the key that `api_key` has then
}

resource "fnbridge_pipeline" "charge" {
  name   = "payments-charge"
  source = { topics = ["payments-due"] }
  function = {
    url  = "https://fn.example.com/charge"
    auth = { type = "bearer", token = { secret = fnbridge_secret.api_key.name } }
  }
}
