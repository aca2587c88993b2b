//! Tokens: 256 random bits each, of which only a hash is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use super::{Caller, Role};
use crate::control::audit::{self, Audited};
use crate::store::{CommitError, LOOK_EVERY, Order, Store, StoreError, Transaction, Write};

/// What each token's text begins with, so that scanners for leaked secrets know it.
const MARK: &str = "fnb";
/// The fewest characters of a token that an operator chooses.
const SHORTEST: usize = 32;

/// A token, as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// Only to names that begin like this.
    #[serde(default)]
    pub prefix: String,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Who created it.
    pub created_by: String,
    /// The SHA-256 of its text, as base64.
    hash: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} {})", self.id, self.name)
    }
}

/// Why a token was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The machine gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A token of an operator's own that is too easily guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("FNBRIDGE_ADMIN_TOKEN has {0} characters, expected at least {SHORTEST}: try `openssl rand -base64 32`")]
pub struct TooShort(usize);

/// The tokens that are known, kept fresh.
#[derive(Debug)]
pub struct Tokens {
    known: Arc<Mutex<BTreeMap<String, Token>>>,
    /// The hash of the first admin's token, from the environment.
    first: Option<Vec<u8>>,
    following: JoinHandle<()>,
}

impl Tokens {
    /// Follows the tokens in a store. `first` is an admin's token that needs no store. Must be called within a Tokio
    /// runtime.
    ///
    /// # Errors
    /// A first token that is too short.
    pub fn follow(store: Arc<dyn Store>, first: Option<&str>) -> Result<Tokens, TooShort> {
        if let Some(short) = first
            .map(|text| text.chars().count())
            .filter(|length| *length < SHORTEST)
        {
            return Err(TooShort(short));
        }
        let known = Arc::default();
        let following = tokio::spawn(keep_fresh(store, Arc::clone(&known)));
        Ok(Tokens {
            known,
            first: first.map(hash),
            following,
        })
    }

    /// Whose token this is. Tokens that were known go on working while the store is away.
    pub fn caller(&self, text: &str) -> Option<Caller> {
        let hashed = hash(text);
        if self.first.as_ref().is_some_and(|first| is_same(first, &hashed)) {
            return Some(Caller {
                name: "admin (FNBRIDGE_ADMIN_TOKEN)".to_owned(),
                ..Caller::anonymous()
            });
        }
        let id = text.strip_prefix(MARK)?.strip_prefix('_')?.split('_').next()?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let token = known.get(id)?;
        let expected = URL_SAFE_NO_PAD.decode(&token.hash).ok()?;
        is_same(&expected, &hashed).then(|| Caller {
            name: token.name.clone(),
            role: token.role,
            prefix: token.prefix.clone(),
        })
    }

    /// All tokens, by id.
    ///
    /// # Errors
    /// The store is away.
    pub async fn list(store: &dyn Store) -> Result<Vec<Token>, StoreError> {
        Ok(read(store).await?.into_values().collect())
    }

    /// Creates a token; its text is not seen again.
    ///
    /// # Errors
    /// The store is away.
    pub async fn create(
        store: &dyn Store,
        name: &str,
        (role, prefix): (Role, &str),
        (by, at_ms): (&str, i64),
    ) -> Result<(Token, String), CreateError> {
        let id = random_text::<6>()?.replace(['_', '-'], "x");
        let text = format!("{MARK}_{id}_{}", random_text::<32>()?);
        let token = Token {
            name: name.to_owned(),
            role,
            prefix: prefix.to_owned(),
            created_ms: at_ms,
            created_by: by.to_owned(),
            hash: URL_SAFE_NO_PAD.encode(hash(&text)),
            id,
        };
        let value = serde_json::to_vec(&token).expect("a token is JSON");
        let put = Write::put(format!("tokens/{}", token.id), value);
        let detail = format!("{name}, {}", role.name());
        commit(store, put, audited("token.created", &token.id, &detail, (by, at_ms))).await?;
        Ok((token, text))
    }

    /// Revokes a token. False: there is none of this id.
    ///
    /// # Errors
    /// The store is away.
    pub async fn revoke(store: &dyn Store, id: &str, (by, at_ms): (&str, i64)) -> Result<bool, StoreError> {
        let key = format!("tokens/{id}");
        if store.get(&key).await?.is_none() {
            return Ok(false);
        }
        commit(
            store,
            Write::Delete { key },
            audited("token.revoked", id, "", (by, at_ms)),
        )
        .await?;
        Ok(true)
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.following.abort();
    }
}

async fn keep_fresh(store: Arc<dyn Store>, known: Arc<Mutex<BTreeMap<String, Token>>>) {
    let mut changes = store.watch("tokens");
    loop {
        match read(&*store).await {
            Ok(tokens) => *known.lock().unwrap_or_else(PoisonError::into_inner) = tokens,
            Err(_) => {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn read(store: &dyn Store) -> Result<BTreeMap<String, Token>, StoreError> {
    let mut tokens = BTreeMap::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.list("tokens/", Order::Ascending, after.as_deref(), 500).await?;
        for entry in &page.entries {
            if let Ok(token) = serde_json::from_slice::<Token>(&entry.value) {
                tokens.insert(token.id.clone(), token);
            }
        }
        after = page.entries.last().map(|entry| entry.key.clone());
        if !page.more {
            return Ok(tokens);
        }
    }
}

pub(super) fn audited(action: &str, target: &str, detail: &str, (by, at_ms): (&str, i64)) -> Audited {
    Audited {
        at_ms,
        by: by.to_owned(),
        action: action.to_owned(),
        target: target.to_owned(),
        detail: detail.to_owned(),
    }
}

pub(super) async fn commit(store: &dyn Store, write: Write, audited: Audited) -> Result<(), StoreError> {
    let transaction = Transaction {
        conditions: Vec::new(),
        writes: vec![write, audit::write(&audited)],
    };
    match store.commit(transaction).await {
        // There is no condition that could fail.
        Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
        Err(CommitError::Store(error)) => Err(error),
    }
}

pub(super) fn random<const BYTES: usize>() -> Result<[u8; BYTES], CreateError> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|_| CreateError::NoRandomness)?;
    Ok(bytes)
}

fn random_text<const BYTES: usize>() -> Result<String, CreateError> {
    Ok(URL_SAFE_NO_PAD.encode(random::<BYTES>()?))
}

fn hash(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}

fn is_same(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: (&str, i64) = ("ann", 7);

    #[tokio::test]
    async fn a_token_works_until_it_is_revoked_and_is_kept_as_a_hash() {
        let store = crate::store::open("sqlite::memory:").unwrap();
        let tokens = Tokens::follow(store.clone(), None).unwrap();
        let (token, text) = Tokens::create(&*store, "ci", (Role::Editor, "pay-"), BY).await.unwrap();
        let kept = store.get(&format!("tokens/{}", token.id)).await.unwrap().unwrap();
        let secret = text.splitn(3, '_').nth(2).unwrap();
        assert!(!String::from_utf8_lossy(&kept.value).contains(secret));
        let caller = known(&tokens, &text).await;
        assert_eq!(
            (caller.name.as_str(), caller.role, caller.prefix.as_str()),
            ("ci", Role::Editor, "pay-")
        );
        assert_eq!(tokens.caller(&format!("{text}x")), None);
        assert!(Tokens::revoke(&*store, &token.id, BY).await.unwrap());
        while tokens.caller(&text).is_some() {
            tokio::task::yield_now().await;
        }
        assert!(!Tokens::revoke(&*store, &token.id, BY).await.unwrap());
    }

    async fn known(tokens: &Tokens, text: &str) -> Caller {
        loop {
            if let Some(caller) = tokens.caller(text) {
                return caller;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_first_admin_needs_no_store() {
        let store = crate::store::open("sqlite::memory:").unwrap();
        let long = "0123456789abcdef0123456789abcdef";
        let tokens = Tokens::follow(store.clone(), Some(long)).unwrap();
        assert_eq!(tokens.caller(long).map(|caller| caller.role), Some(Role::Admin));
        assert_eq!(
            Tokens::follow(store, Some("secret")).map(|_| ()).unwrap_err(),
            TooShort(6)
        );
    }
}
