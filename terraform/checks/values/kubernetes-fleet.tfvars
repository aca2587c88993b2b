image             = "registry.example.com/fnbridge:0.1.0"
bootstrap_servers = "kafka-0.kafka:9093,kafka-1.kafka:9093"
admin_token       = "an-admin-token-that-must-not-be-kept-x"
secrets_key       = "must/not/be/kept/AAAAAAAAAAAAAAAAAAAAAAAAAA="
