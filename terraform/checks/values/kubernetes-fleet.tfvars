admin_token = "an-admin-token-that-must-not-be-kept-x"
secrets_key = "must/not/be/kept/AAAAAAAAAAAAAAAAAAAAAAAAAA="
