terraform {
  required_version = ">= 1.11"
  required_providers {
    fnbridge = {
      source  = "fnbridge/fnbridge"
      version = "~> 0.1"
    }
  }
}

# FNBRIDGE_TOKEN has the token: it stands in no file.
provider "fnbridge" {
  url = "https://fnbridge.example.com:8470"
}
