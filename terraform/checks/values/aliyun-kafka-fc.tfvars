network = {
  vpc_id            = "vpc-1"
  vswitch_ids       = ["vsw-1", "vsw-2"]
  security_group_id = "sg-1"
}
cluster_identity = {
  oidc_provider_arn = "acs:ram::1:oidc-provider/ack-rrsa-c1"
  oidc_issuer       = "https://oidc-ack-cn-hangzhou.example.com/c1"
}
image = "registry.example.com/fnbridge:0.1.0"
# The user's password is kept by alicloud_alikafka_sasl_user.
kafka_password = "a_password_of_kafka"
admin_token    = "an-admin-token-that-must-not-be-kept-x"
