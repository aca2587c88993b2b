output "pipeline" {
  description = "The pipeline's name, and its revision."
  value       = { name = fnbridge_pipeline.enrich.name, revision = fnbridge_pipeline.enrich.revision }
}
