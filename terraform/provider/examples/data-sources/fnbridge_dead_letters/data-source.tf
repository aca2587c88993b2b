data "fnbridge_dead_letters" "orders" {
  pipeline = "orders"
}

# A warning on each plan and apply, while dead letters wait for somebody.
check "no_dead_letters" {
  assert {
    condition     = data.fnbridge_dead_letters.orders.total == 0
    error_message = "dead letters wait: ${join("; ", [for group in data.fnbridge_dead_letters.orders.groups : "${group.count} × ${group.sample.reason}"])}"
  }
}

# A new version of the function is only pointed to once nothing waits that the old one failed on.
resource "fnbridge_pipeline" "orders_v2" {
  name     = "orders-v2"
  source   = { topics = ["orders-v2"] }
  function = { url = "https://fn.example.com/v2" }
  lifecycle {
    precondition {
      condition     = data.fnbridge_dead_letters.orders.total == 0
      error_message = "See to the dead letters of orders first: fnbridge dlq groups orders"
    }
  }
}
