# The user's password is kept by alicloud_alikafka_sasl_user.
kafka_password = "a_password_of_kafka"
admin_token    = "an-admin-token-that-must-not-be-kept-x"
