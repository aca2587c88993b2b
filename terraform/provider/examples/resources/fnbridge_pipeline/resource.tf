# Topic, function, results: all that is needed.
resource "fnbridge_pipeline" "short" {
  name     = "payments-score"
  source   = { topics = ["payments"] }
  function = { url = "https://fn.example.com/score" }
  sinks    = [{ kafka = { topic = "payments-scored" } }]
}

variable "webhook_key" {
  type      = string
  ephemeral = true
}

# With more of what can be said.
resource "fnbridge_pipeline" "long" {
  name   = "orders-notify"
  labels = { team = "orders" }
  source = {
    topic_pattern = "orders\\..*"
    start         = "latest"
    value         = { format = "json" }
  }
  filter      = "value.amount > 100"
  ordering    = "key"
  batch       = { max_records = 50, linger = "20ms" }
  concurrency = { max_in_flight = 32 }
  limits      = { records_per_second = 500 }
  function = {
    url     = "https://fn.example.com/notify"
    timeout = "10s"
    headers = { x-team = { value = "orders" } }
    # Sent, and kept in no plan and no state. Another key is sent with another `secrets_wo_version`.
    auth = { type = "hmac", keys = [{ value_wo = var.webhook_key }] }
  }
  secrets_wo_version = 1
  retry              = { max_attempts = 8, max_backoff = "1m" }
  responses          = { "409" = "drop" }
  dead_letter        = { topic = "orders-notify.letters", max_redrives = 5 }
  sinks = [
    { name = "notified", kafka = { topic = "orders-notified" } },
    { name = "log", stdout = {} },
  ]
  timeouts = { delete = "15m" }
}
