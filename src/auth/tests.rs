//! Signatures against the owners' own signers.

use std::time::{Duration, UNIX_EPOCH};

use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;

use super::*;

/// 2025-11-24T16:00:00Z
fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_764_000_000)
}

fn vectors(text: &str) -> Vec<Value> {
    let vectors: Vec<Value> = serde_json::from_str(text).unwrap();
    assert!(vectors.len() >= 6);
    vectors
}

fn request(vector: &Value) -> Request<Bytes> {
    let body = Bytes::from(vector["body"].as_str().unwrap().to_owned());
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    if let Some(url) = vector["url"].as_str() {
        *request.uri_mut() = url.parse().unwrap();
    }
    request
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request
}

fn keys(id: &str, secret: &str, vector: &Value) -> CloudKeys {
    CloudKeys {
        id: id.to_owned(),
        secret: Secret(secret.to_owned()),
        token: vector["token"].as_str().map(|token| Secret(token.to_owned())),
    }
}

#[test]
fn signatures_of_aws_are_those_of_botocore() {
    let signer = aws_sigv4::AwsSigv4::new(AwsSettings {
        region: "eu-west-1".to_owned(),
        service: "lambda".to_owned(),
        keys: Some(keys("unused", "unused", &Value::Null)),
    });
    let signer = signer.unwrap();
    for vector in vectors(include_str!("vectors/aws_sigv4.json")) {
        let mut request = request(&vector);
        request
            .headers_mut()
            .insert("x-amz-invocation-type", HeaderValue::from_static("RequestResponse"));
        request
            .headers_mut()
            .insert("traceparent", HeaderValue::from_static("not signed"));
        let keys = keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", &vector);
        signer.sign_with(&mut request, &keys, noon()).unwrap();
        assert_eq!(
            request.headers()[AUTHORIZATION],
            vector["authorization"].as_str().unwrap(),
            "{vector}"
        );
        assert_eq!(request.headers()["x-amz-date"], "20251124T160000Z");
        let token = request.headers().get("x-amz-security-token");
        assert_eq!(token.map(|token| token.to_str().unwrap()), vector["token"].as_str());
    }
}

#[test]
fn signatures_of_alibaba_cloud_are_those_of_its_own_library() {
    for vector in vectors(include_str!("vectors/aliyun_acs3.json")) {
        let mut request = request(&vector);
        request
            .headers_mut()
            .insert("traceparent", HeaderValue::from_static("not signed"));
        let keys = keys("LTAIEXAMPLE", "a-secret", &vector);
        aliyun_acs3::sign_with(&mut request, &keys, noon(), "00112233445566778899aabbccddeeff").unwrap();
        assert_eq!(
            request.headers()[AUTHORIZATION],
            vector["authorization"].as_str().unwrap(),
            "{vector}"
        );
    }
}

#[tokio::test]
async fn signatures_of_webhooks_are_those_of_the_standards_own_library() {
    for vector in vectors(include_str!("vectors/standard_webhooks.json")) {
        let mut request = request(&vector);
        let id = HeaderValue::from_str(vector["id"].as_str().unwrap()).unwrap();
        request.headers_mut().insert("idempotency-key", id.clone());
        let keys: Vec<Secret> = vector["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| Secret(key.as_str().unwrap().to_owned()))
            .collect();
        hmac::Hmac::new(&keys)
            .unwrap()
            .sign(&mut request, noon())
            .await
            .unwrap();
        assert_eq!(
            request.headers()["webhook-signature"],
            vector["signature"].as_str().unwrap()
        );
        assert_eq!(
            (
                &request.headers()["webhook-id"],
                &request.headers()["webhook-timestamp"]
            ),
            (&id, &HeaderValue::from(1_764_000_000))
        );
    }
}

#[tokio::test]
async fn a_token_and_a_password_stand_in_authorization() {
    let cases: [(Box<dyn Auth>, &str); 2] = [
        (
            Box::new(bearer::Bearer::new(&Secret("t-1".to_owned())).unwrap()),
            "Bearer t-1",
        ),
        (
            // RFC 7617, section 2.
            Box::new(
                basic::Basic::new(&BasicSettings {
                    username: "Aladdin".to_owned(),
                    password: Secret("open sesame".to_owned()),
                })
                .unwrap(),
            ),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
    ];
    for (auth, expected) in cases {
        let mut request = Request::new(Bytes::new());
        auth.sign(&mut request, noon()).await.unwrap();
        assert_eq!(request.headers()[AUTHORIZATION], expected);
        assert!(request.headers()[AUTHORIZATION].is_sensitive());
        assert!(!auth.renew(Proof::default()), "there is no other");
        assert!(!format!("{auth:?}").contains("t-1"));
    }
}

#[test]
fn keys_of_webhooks_are_checked_and_not_shown() {
    let said = |key: &str| hmac::Hmac::new(&[Secret(key.to_owned())]).map_or_else(|wrong| wrong, |_| String::new());
    assert_eq!(said("whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"), "");
    for (key, wrong) in [
        ("hunter2", "a key without whsec_ before it"),
        ("whsec_hunter2!", "a key that is not base64"),
        ("whsec_aHVudGVyMg==", "a key of 7 bytes"),
    ] {
        let found = said(key);
        assert!(found.starts_with(wrong) && !found.contains("hunter2"), "{found}");
    }
}
