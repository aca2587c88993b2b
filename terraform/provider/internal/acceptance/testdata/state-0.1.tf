resource "fnbridge_secret" "key" {
  name             = "kept-key"
  value_wo         = "x"
  value_wo_version = 1
  timeouts         = { create = "1m", read = "1m", update = "1m", delete = "1m" }
}

resource "fnbridge_pipeline" "called" {
  name   = "kept-called"
  labels = { team = "orders" }
  state  = "running"
  tasks  = 2
  source = {
    cluster   = "default"
    topics    = ["kept", "kept-too"]
    group     = "kept-group"
    start     = "latest"
    isolation = "read_uncommitted"
    key       = { format = "bytes" }
    value     = { format = "string" }
  }
  filter = "value.contains('a')"
  function = {
    url                = "http://127.0.0.1:9/"
    contract           = "json"
    timeout            = "31s"
    max_response_bytes = "9MiB"
    headers            = { x-team = { value = "orders" }, x-key = { secret = fnbridge_secret.key.name } }
    auth               = { type = "bearer", token = { value_wo = "y" } }
  }
  responses     = { 409 = "drop" }
  batch         = { max_records = 50, max_bytes = "2MiB", linger = "5ms" }
  concurrency   = { max_in_flight = 8 }
  retry         = { max_attempts = 6, initial_backoff = "201ms", max_backoff = "31s", max_age = "2h" }
  limits        = { records_per_second = 0.5, bytes_per_second = "6MiB", in_flight_bytes = "33MiB", weight = 2 }
  placement     = { labels = { nowhere = "yes" } }
  dead_letter   = { topic = "kept-letters", max_redrives = 1, guard = { failed = 4, refused = 101 } }
  on_exhausted  = "dead_letter"
  drain_timeout = "41s"
  ordering      = "key"
  delivery      = "at_least_once"
  sinks = [
    { name = "results", kafka = { topic = "kept-results" } },
    { http = { url = "http://127.0.0.1:9/", timeout = "31s", auth = { type = "basic", username = { value = "u" }, password = { env = "FNBRIDGE_TEST_B" } } } },
    { stdout = {} },
  ]
  secrets_wo_version = 1
  delete_offsets     = false
  timeouts           = { create = "1m", read = "1m", update = "1m", delete = "1m" }
}

resource "fnbridge_pipeline" "pattern" {
  name      = "kept-pattern"
  source    = { topic_pattern = "kept-.*" }
  placement = { labels = { nowhere = "yes" } }
  function = {
    url                 = "http://127.0.0.1:9/"
    contract            = "aws_lambda"
    batch_item_failures = "from_first"
    auth                = { type = "oidc", token_url = "http://127.0.0.1:1/", client_id = { env = "FNBRIDGE_TEST_A" }, client_secret = { env = "FNBRIDGE_TEST_B" }, scope = "a" }
  }
}

resource "fnbridge_pipeline" "least" {
  name      = "kept-least"
  source    = { topics = ["kept"] }
  placement = { labels = { nowhere = "yes" } }
  sinks     = [{ stdout = {} }]
}
