# By the pipeline's name
terraform import fnbridge_pipeline.short payments-score
