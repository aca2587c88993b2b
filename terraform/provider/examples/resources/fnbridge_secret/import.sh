# By the secret's name. Its value can't be read: the next apply writes that of the configuration.
terraform import fnbridge_secret.api_key payments-api-key
