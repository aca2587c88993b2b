data "fnbridge_fleet" "all" {}

output "versions" {
  value = { for worker in data.fnbridge_fleet.all.workers : worker.id => worker.version }
}

output "behind" {
  value = { for pipeline in data.fnbridge_fleet.all.pipelines : pipeline.name => pipeline.lag_seconds if pipeline.lag_seconds > 60 }
}
