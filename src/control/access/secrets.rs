//! Secrets: written, referred to, never read back; encrypted where they are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tokens::{audited, commit, random};
use crate::store::{Store, StoreError, Write};

/// A key of 32 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretsKey([u8; 32]);

impl SecretsKey {
    /// A key that nobody else has: what it encrypts is lost with this process.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn random() -> Result<SecretsKey, String> {
        random().map(SecretsKey).map_err(|error| error.to_string())
    }

    /// Reads a key: 32 bytes as base64, or as 64 hexadecimal digits.
    ///
    /// # Errors
    /// What was found, and what was expected; never the text.
    pub fn read(text: &str) -> Result<SecretsKey, String> {
        let text = text.trim();
        let hex = (text.len() == 64).then(|| {
            (0..64)
                .step_by(2)
                .map(|at| text.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok()))
                .collect::<Option<Vec<u8>>>()
        });
        let bytes = match hex.flatten() {
            Some(bytes) => Some(bytes),
            None => STANDARD.decode(text).ok(),
        };
        let wrong = "expected 32 random bytes as base64, such as `openssl rand -base64 32` prints";
        let bytes = bytes.ok_or_else(|| format!("found a text that is neither base64 nor hexadecimal, {wrong}"))?;
        let length = bytes.len();
        let key = bytes.try_into().map_err(|_| format!("found {length} bytes, {wrong}"))?;
        Ok(SecretsKey(key))
    }
}

impl fmt::Debug for SecretsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretsKey(…)")
    }
}

/// What is told of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// When it was written last, in milliseconds since the Unix epoch.
    pub changed_ms: i64,
    /// Who wrote it last.
    pub changed_by: String,
}

/// Why a secret can't be written or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is no key to encrypt with.
    #[error(
        "no key for secrets is configured: set access.secrets_key to 32 random bytes, in a file or an environment variable"
    )]
    NoKey,
    /// It was encrypted with another key, or was changed.
    #[error("the secret {0} can't be decrypted: it was written with another key than access.secrets_key")]
    OtherKey(String),
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Says how it is encrypted; 1: AES-256-GCM, with the name as associated data.
    version: u8,
    nonce: String,
    sealed: String,
    changed_ms: i64,
    changed_by: String,
}

/// The secrets in a store.
#[derive(Clone, Debug)]
pub struct Secrets {
    store: Arc<dyn Store>,
    key: Option<SecretsKey>,
}

impl Secrets {
    /// The secrets in this store, encrypted with this key.
    pub fn new(store: Arc<dyn Store>, key: Option<SecretsKey>) -> Secrets {
        Secrets { store, key }
    }

    /// Writes a secret.
    ///
    /// # Errors
    /// No key, or the store is away.
    pub async fn set(&self, name: &str, value: &str, (by, at_ms): (&str, i64)) -> Result<(), SecretError> {
        let key = self.aead()?;
        let mut sealed = value.as_bytes().to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed)
            .map_err(|_| SecretError::NoKey)?;
        let kept = Kept {
            version: 1,
            nonce: STANDARD.encode(nonce.as_ref()),
            sealed: STANDARD.encode(sealed),
            changed_ms: at_ms,
            changed_by: by.to_owned(),
        };
        let value = serde_json::to_vec(&kept).expect("texts and numbers are JSON");
        let put = Write::put(format!("secrets/{name}"), value);
        Ok(commit(&*self.store, put, audited("secret.set", name, "", (by, at_ms))).await?)
    }

    /// Removes a secret. False: there is none of this name.
    ///
    /// # Errors
    /// The store is away.
    pub async fn delete(&self, name: &str, (by, at_ms): (&str, i64)) -> Result<bool, SecretError> {
        let key = format!("secrets/{name}");
        if self.store.get(&key).await?.is_none() {
            return Ok(false);
        }
        commit(
            &*self.store,
            Write::Delete { key },
            audited("secret.deleted", name, "", (by, at_ms)),
        )
        .await?;
        Ok(true)
    }

    /// What is told of all secrets, by name.
    ///
    /// # Errors
    /// The store is away.
    pub async fn list(&self) -> Result<Vec<Secret>, SecretError> {
        let kept = self.kept().await?;
        Ok(kept
            .into_iter()
            .map(|(name, kept)| Secret {
                name,
                changed_ms: kept.changed_ms,
                changed_by: kept.changed_by,
            })
            .collect())
    }

    /// All secrets with their values, for the pipelines that refer to them; those that can't be decrypted are left out.
    ///
    /// # Errors
    /// The store is away.
    pub async fn values(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let kept = self.kept().await?;
        let values = kept
            .into_iter()
            .filter_map(|(name, kept)| Some((name.clone(), self.open(&name, &kept).ok()?)));
        Ok(values.collect())
    }

    fn open(&self, name: &str, kept: &Kept) -> Result<String, SecretError> {
        let other = || SecretError::OtherKey(name.to_owned());
        let (Ok(nonce), Ok(mut sealed)) = (STANDARD.decode(&kept.nonce), STANDARD.decode(&kept.sealed)) else {
            return Err(other());
        };
        let nonce: [u8; NONCE_LEN] = nonce.try_into().map_err(|_| other())?;
        let opened = self
            .aead()?
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(name.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| other())?;
        String::from_utf8(opened.to_vec()).map_err(|_| other())
    }

    fn aead(&self) -> Result<RandomizedNonceKey, SecretError> {
        let key = self.key.as_ref().ok_or(SecretError::NoKey)?;
        RandomizedNonceKey::new(&AES_256_GCM, &key.0).map_err(|_| SecretError::NoKey)
    }

    async fn kept(&self) -> Result<Vec<(String, Kept)>, StoreError> {
        let entries = self.store.all("secrets/").await?;
        let kept = entries.iter().filter_map(|entry| {
            let name = entry.key.strip_prefix("secrets/")?.to_owned();
            Some((name, serde_json::from_slice(&entry.value).ok()?))
        });
        Ok(kept.collect())
    }
}

/// The names in `{secret: name}`, wherever in a document they stand.
pub fn referred_secrets(document: &Value) -> BTreeSet<&str> {
    match document {
        Value::Object(fields) => {
            let itself = fields.get("secret").and_then(Value::as_str);
            itself
                .into_iter()
                .chain(fields.values().flat_map(referred_secrets))
                .collect()
        }
        Value::Array(items) => items.iter().flat_map(referred_secrets).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_that_a_document_refers_to_are_found_wherever_they_stand() {
        let document = json!({
            "function": {"url": "http://f", "auth": {"type": "bearer", "token": {"secret": "a"}}},
            "sinks": [{"http": {"headers": {"x": {"secret": "b"}, "y": "c"}}}],
        });
        assert_eq!(referred_secrets(&document), BTreeSet::from(["a", "b"]));
    }

    const BY: (&str, i64) = ("ann", 7);

    fn key(byte: u8) -> Option<SecretsKey> {
        Some(SecretsKey([byte; 32]))
    }

    #[tokio::test]
    async fn a_secret_is_kept_encrypted_and_opens_with_its_key_alone() {
        let store = crate::store::open("sqlite::memory:").unwrap();
        let secrets = Secrets::new(store.clone(), key(1));
        secrets.set("token", "hunter2", BY).await.unwrap();
        let kept = store.get("secrets/token").await.unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&kept.value).contains("hunter2"));
        assert_eq!(secrets.values().await.unwrap()["token"], "hunter2");
        let other = Secrets::new(store.clone(), key(2));
        assert!(other.values().await.unwrap().is_empty());
        assert_eq!(other.list().await.unwrap()[0].changed_by, "ann");
    }

    #[tokio::test]
    async fn a_secret_does_not_open_under_another_name() {
        let store = crate::store::open("sqlite::memory:").unwrap();
        let secrets = Secrets::new(store.clone(), key(1));
        secrets.set("mine", "hunter2", BY).await.unwrap();
        let moved = store.get("secrets/mine").await.unwrap().unwrap();
        let put = Transaction {
            conditions: vec![],
            writes: vec![Write::put("secrets/yours", moved.value)],
        };
        store.commit(put).await.unwrap();
        assert_eq!(secrets.values().await.unwrap().keys().collect::<Vec<_>>(), ["mine"]);
    }

    #[tokio::test]
    async fn without_a_key_nothing_is_written_in_the_clear() {
        let store = crate::store::open("sqlite::memory:").unwrap();
        let refused = Secrets::new(store.clone(), None).set("token", "hunter2", BY).await;
        assert_eq!(refused, Err(SecretError::NoKey));
        assert_eq!(store.get("secrets/token").await.unwrap(), None);
    }

    #[test]
    fn a_key_is_base64_or_hexadecimal_and_its_text_is_in_no_message() {
        assert_eq!(
            SecretsKey::read(&STANDARD.encode([7; 32])),
            SecretsKey::read(&"07".repeat(32))
        );
        assert_eq!(
            SecretsKey::read("c2hvcnQ=").unwrap_err().split(',').next(),
            Some("found 5 bytes")
        );
        assert!(!SecretsKey::read("hunter2!").unwrap_err().contains("hunter2"));
    }

    use crate::store::Transaction;
}
