terraform {
  required_version = ">= 1.11" # write-only arguments

  required_providers {
    kubernetes = {
      source  = "hashicorp/kubernetes"
      version = "~> 2.36" # data_wo
    }
  }
}
