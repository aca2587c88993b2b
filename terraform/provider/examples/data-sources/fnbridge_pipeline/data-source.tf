data "fnbridge_pipeline" "orders" {
  name = "orders"
}

check "orders_run" {
  assert {
    condition     = data.fnbridge_pipeline.orders.status.phase == "running"
    error_message = "orders: ${data.fnbridge_pipeline.orders.status.phase}, ${coalesce(data.fnbridge_pipeline.orders.status.reason, "for no stated reason")}"
  }
}
