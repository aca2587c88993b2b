//! What every store promises.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fnbridge::store::{self, CommitError, Condition, Entry, Order, Revision, Store, StoreError, Transaction, Write};
use futures_util::future::{BoxFuture, FutureExt, join_all};
use sqlx::{AnyConnection, Connection};

use crate::servers::{Kind, Server, shared};

/// A promise, checked on a kind of store.
#[derive(Clone, Copy)]
pub enum Promise {
    /// With a store of its own on the server that tests share.
    Of(fn(String) -> BoxFuture<'static, ()>),
    /// With a server of its own, which it kills.
    WithServer(fn(Server) -> BoxFuture<'static, ()>),
    /// Of those that have tables.
    Sql(fn(String) -> BoxFuture<'static, ()>),
}

macro_rules! promises {
    ($($kind:ident $name:ident),* $(,)?) => {
        /// All of them.
        pub const ALL: [(&str, Promise); [$(stringify!($name)),*].len()] =
            [$((stringify!($name), Promise::$kind(|with| $name(with).boxed()))),*];
    };
}

promises![
    Of what_is_put_is_there_until_it_is_deleted,
    Of of_two_writers_one_wins_and_the_other_hears_of_the_revision,
    Of counting_by_compare_and_set_loses_nothing,
    Of a_transaction_is_carried_out_whole_or_not_at_all,
    Of revisions_grow_with_every_commit,
    Of lists_are_in_the_order_of_bytes_and_come_in_pages,
    Of what_lives_for_a_while_is_gone_after_it_unless_it_is_put_again,
    Of a_lease_is_taken_over_only_when_it_is_over,
    Of a_watcher_elsewhere_hears_within_two_seconds,
    Of a_value_of_a_mebibyte_and_keys_of_any_script_come_back_as_they_were,
    Of ten_thousand_keys_are_listed,
    WithServer a_server_that_is_away_is_said_to_be_and_works_when_it_is_back,
    Sql a_store_of_a_newer_version_is_refused,
];

impl Promise {
    pub fn holds_for(self, kind: Kind) -> bool {
        match self {
            Promise::Of(_) => true,
            Promise::WithServer(_) => kind != Kind::Sqlite,
            Promise::Sql(_) => kind != Kind::Etcd,
        }
    }

    pub fn check(self, kind: Kind, name: &str) {
        let promise = match self {
            Promise::Of(promise) | Promise::Sql(promise) => promise(shared(kind, name)),
            Promise::WithServer(promise) => promise(Server::start(kind)),
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(promise);
    }
}

fn put(key: &str, value: &str) -> Transaction {
    Transaction {
        conditions: vec![],
        writes: vec![Write::put(key, value.to_owned())],
    }
}

fn put_if(condition: Condition, key: &str, value: &str) -> Transaction {
    Transaction {
        conditions: vec![condition],
        ..put(key, value)
    }
}

fn lease(condition: Condition, key: &str, value: &str, lives: Duration) -> Transaction {
    Transaction {
        conditions: vec![condition],
        writes: vec![Write::Put {
            key: key.to_owned(),
            value: value.to_owned().into(),
            lives: Some(lives),
        }],
    }
}

async fn value(store: &dyn Store, key: &str) -> Option<String> {
    let entry = store.get(key).await.unwrap();
    entry.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
}

async fn keys(store: &dyn Store, prefix: &str, order: Order, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
    let page = store.list(prefix, order, after, limit).await.unwrap();
    (page.entries.into_iter().map(|entry| entry.key).collect(), page.more)
}

async fn what_is_put_is_there_until_it_is_deleted(url: String) {
    let store = store::open(&url).unwrap();
    assert_eq!(store.get("a/b").await.unwrap(), None);
    let revision = store.commit(put("a/b", "one")).await.unwrap();
    let expected = Entry {
        key: "a/b".to_owned(),
        value: "one".into(),
        revision,
    };
    assert_eq!(store.get("a/b").await.unwrap(), Some(expected));
    let again = store::open(&url).unwrap();
    assert_eq!(value(&*again, "a/b").await.as_deref(), Some("one"));
    let delete = Transaction {
        conditions: vec![Condition::At("a/b".to_owned(), revision)],
        writes: vec![Write::Delete { key: "a/b".to_owned() }],
    };
    store.commit(delete).await.unwrap();
    assert_eq!(again.get("a/b").await.unwrap(), None);
}

async fn of_two_writers_one_wins_and_the_other_hears_of_the_revision(url: String) {
    let (one, other) = (store::open(&url).unwrap(), store::open(&url).unwrap());
    let create = |value: &str| put_if(Condition::Absent("a/b".to_owned()), "a/b", value);
    let (first, second) = tokio::join!(one.commit(create("one")), other.commit(create("other")));
    let (won, lost) = match (first, second) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        both => panic!("{both:?}"),
    };
    let conflict = |found| CommitError::Conflict {
        key: "a/b".to_owned(),
        found,
    };
    assert_eq!(lost, conflict(Some(won)));
    let stale = one
        .commit(put_if(
            Condition::At("a/b".to_owned(), Revision(won.0 + 1000)),
            "a/b",
            "x",
        ))
        .await;
    assert_eq!(stale, Err(conflict(Some(won))));
    let gone = one
        .commit(put_if(Condition::At("a/c".to_owned(), won), "a/c", "x"))
        .await;
    assert!(
        matches!(gone, Err(CommitError::Conflict { found: None, .. })),
        "{gone:?}"
    );
}

async fn counting_by_compare_and_set_loses_nothing(url: String) {
    const WRITERS: usize = 8;
    const TIMES: usize = 25;
    let stores: Vec<Arc<dyn Store>> = (0..WRITERS).map(|_| store::open(&url).unwrap()).collect();
    stores[0].commit(put("a/count", "0")).await.unwrap();
    let count = |store: Arc<dyn Store>| async move {
        let mut counted = 0;
        while counted < TIMES {
            let now = store.get("a/count").await.unwrap().unwrap();
            let next = String::from_utf8(now.value.to_vec()).unwrap().parse::<usize>().unwrap() + 1;
            let set = put_if(
                Condition::At("a/count".to_owned(), now.revision),
                "a/count",
                &next.to_string(),
            );
            match store.commit(set).await {
                Ok(_) => counted += 1,
                Err(CommitError::Conflict { .. }) => {}
                Err(CommitError::Store(error)) => panic!("{error}"),
            }
        }
    };
    join_all(stores.iter().cloned().map(count)).await;
    assert_eq!(value(&*stores[0], "a/count").await, Some((WRITERS * TIMES).to_string()));
}

async fn a_transaction_is_carried_out_whole_or_not_at_all(url: String) {
    let store = store::open(&url).unwrap();
    store.commit(put("a/there", "x")).await.unwrap();
    let both = |condition| Transaction {
        conditions: vec![Condition::Absent("a/new".to_owned()), condition],
        writes: vec![
            Write::put("a/new", "1"),
            Write::put("b/new", "2"),
            Write::Delete {
                key: "a/there".to_owned(),
            },
        ],
    };
    let refused = store.commit(both(Condition::Absent("a/there".to_owned()))).await;
    assert!(
        matches!(refused, Err(CommitError::Conflict { ref key, .. }) if key == "a/there"),
        "{refused:?}"
    );
    assert_eq!(store.get("a/new").await.unwrap(), None);
    assert_eq!(value(&*store, "a/there").await.as_deref(), Some("x"));
    store
        .commit(both(Condition::Absent("a/nothing".to_owned())))
        .await
        .unwrap();
    assert_eq!(value(&*store, "b/new").await.as_deref(), Some("2"));
    assert_eq!(store.get("a/there").await.unwrap(), None);
}

async fn revisions_grow_with_every_commit(url: String) {
    let (one, other) = (store::open(&url).unwrap(), store::open(&url).unwrap());
    let mut last = Revision::default();
    for n in 0..10 {
        let store = if n % 2 == 0 { &one } else { &other };
        let revision = store.commit(put("a/b", &n.to_string())).await.unwrap();
        assert!(revision > last);
        last = revision;
    }
}

async fn lists_are_in_the_order_of_bytes_and_come_in_pages(url: String) {
    let store = store::open(&url).unwrap();
    for key in ["l/b", "l/a", "l/B", "l/a/1", "l/ä", "l/a-", "k/z", "l0", "l", "m/a"] {
        store.commit(put(key, key)).await.unwrap();
    }
    let sorted = ["l/B", "l/a", "l/a-", "l/a/1", "l/b", "l/ä"].map(str::to_owned);
    let mut backwards = sorted.to_vec();
    backwards.reverse();
    assert_eq!(
        keys(&*store, "l/", Order::Ascending, None, 100).await,
        (sorted.to_vec(), false)
    );
    assert_eq!(
        keys(&*store, "l/", Order::Descending, None, 100).await,
        (backwards.clone(), false)
    );
    for (order, expected) in [(Order::Ascending, sorted.to_vec()), (Order::Descending, backwards)] {
        let (mut all, mut after) = (Vec::new(), None::<String>);
        loop {
            let (page, more) = keys(&*store, "l/", order, after.as_deref(), 2).await;
            after = page.last().cloned();
            all.extend(page);
            if !more {
                break;
            }
        }
        assert_eq!(all, expected);
    }
}

async fn what_lives_for_a_while_is_gone_after_it_unless_it_is_put_again(url: String) {
    let store = store::open(&url).unwrap();
    // etcd gives a lease no less than two seconds, whatever is asked.
    let lives = Duration::from_secs(3);
    let put = |key: &str| Transaction {
        conditions: vec![],
        writes: vec![Write::Put {
            key: key.to_owned(),
            value: "x".into(),
            lives: Some(lives),
        }],
    };
    store.commit(put("a/left")).await.unwrap();
    let started = Instant::now();
    let mut ended = None;
    while started.elapsed() < lives * 4 {
        store.commit(put("a/kept")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(value(&*store, "a/kept").await.as_deref(), Some("x"));
        if store.get("a/left").await.unwrap().is_none() {
            ended.get_or_insert(started.elapsed());
            break;
        }
    }
    let ended = ended.expect("it is gone");
    assert!(ended > lives - Duration::from_millis(500), "gone after {ended:?}");
    assert_eq!(keys(&*store, "a/", Order::Ascending, None, 10).await.0, ["a/kept"]);
}

async fn a_lease_is_taken_over_only_when_it_is_over(url: String) {
    let (one, other) = (store::open(&url).unwrap(), store::open(&url).unwrap());
    let lives = Duration::from_secs(2);
    let absent = || Condition::Absent("leader".to_owned());
    let held = one.commit(lease(absent(), "leader", "one", lives)).await.unwrap();
    let early = other.commit(lease(absent(), "leader", "other", lives)).await;
    assert!(
        matches!(early, Err(CommitError::Conflict { found: Some(found), .. }) if found == held),
        "{early:?}"
    );
    let renewed = one
        .commit(lease(Condition::At("leader".to_owned(), held), "leader", "one", lives))
        .await
        .unwrap();
    let started = Instant::now();
    loop {
        match other.commit(lease(absent(), "leader", "other", lives)).await {
            Ok(_) => break,
            Err(CommitError::Conflict { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(CommitError::Store(error)) => panic!("{error}"),
        }
    }
    let after = started.elapsed();
    assert!(
        after > lives - Duration::from_millis(500) && after < lives * 4,
        "taken over after {after:?}"
    );
    let late = one
        .commit(lease(
            Condition::At("leader".to_owned(), renewed),
            "leader",
            "one",
            lives,
        ))
        .await;
    assert!(matches!(late, Err(CommitError::Conflict { .. })), "{late:?}");
}

async fn a_watcher_elsewhere_hears_within_two_seconds(url: String) {
    let (here, elsewhere) = (store::open(&url).unwrap(), store::open(&url).unwrap());
    here.commit(put("a/b", "0")).await.unwrap();
    let (mut watched, other) = (elsewhere.watch("a"), elsewhere.watch("b"));
    // What was there before may be told first, and how long the watch takes to stand is not what is measured.
    let _ = tokio::time::timeout(Duration::from_secs(2), watched.changed()).await;
    watched.mark_unchanged();
    let before = *other.borrow();
    let mut slowest = Duration::ZERO;
    for n in 1..4 {
        let revision = here.commit(put("a/b", &n.to_string())).await.unwrap();
        let committed = Instant::now();
        tokio::time::timeout(Duration::from_secs(2), watched.wait_for(|seen| *seen >= revision))
            .await
            .expect("it hears")
            .expect("it lives");
        slowest = slowest.max(committed.elapsed());
        watched.mark_unchanged();
    }
    assert_eq!(*other.borrow(), before, "nothing of this kind was written");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

async fn a_value_of_a_mebibyte_and_keys_of_any_script_come_back_as_they_were(url: String) {
    let store = store::open(&url).unwrap();
    let big: Vec<u8> = (0..store::MAX_VALUE_BYTES).map(|n| (n % 251) as u8).collect();
    for key in ["a/big", "a/% _'\"\\;--", "a/日本 語", "a/🦀"] {
        let transaction = Transaction {
            conditions: vec![Condition::Absent(key.to_owned())],
            writes: vec![Write::put(key, big.clone())],
        };
        store.commit(transaction).await.unwrap();
        assert_eq!(store.get(key).await.unwrap().unwrap().value, big, "{key}");
    }
    assert_eq!(
        keys(&*store, "a/%", Order::Ascending, None, 10).await.0,
        ["a/% _'\"\\;--"]
    );
}

async fn ten_thousand_keys_are_listed(url: String) {
    let store = store::open(&url).unwrap();
    for hundred in 0..100 {
        let writes = (0..100)
            .map(|n| Write::put(format!("many/{:05}", hundred * 100 + n), "x"))
            .collect();
        let transaction = Transaction {
            conditions: vec![],
            writes,
        };
        store.commit(transaction).await.unwrap();
    }
    let all = store.all("many/").await.unwrap();
    assert_eq!(all.len(), 10_000);
    assert!(all.is_sorted_by(|a, b| a.key < b.key));
}

async fn a_server_that_is_away_is_said_to_be_and_works_when_it_is_back(mut server: Server) {
    let url = server.url("away");
    let store = store::open(&url).unwrap();
    store.commit(put("a/b", "before")).await.unwrap();
    let mut watched = store.watch("a");
    server.kill();
    let asked = Instant::now();
    let away = store.get("a/b").await;
    assert!(matches!(away, Err(StoreError::Away(_))), "{away:?}");
    assert!(matches!(
        store.commit(put("a/b", "lost")).await,
        Err(CommitError::Store(StoreError::Away(_)))
    ));
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    let opened = store::open(&url).unwrap();
    assert!(matches!(opened.get("a/b").await, Err(StoreError::Away(_))));
    server.resume();
    let back = Instant::now();
    while store.get("a/b").await.is_err() || opened.get("a/b").await.is_err() {
        assert!(back.elapsed() < Duration::from_secs(20), "it does not come back");
    }
    assert_eq!(value(&*store, "a/b").await.as_deref(), Some("before"));
    watched.mark_unchanged();
    let revision = opened.commit(put("a/b", "after")).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(10), watched.wait_for(|seen| *seen >= revision)).await;
    heard.expect("watchers hear again").expect("it lives");
}

async fn a_store_of_a_newer_version_is_refused(url: String) {
    store::open(&url).unwrap().commit(put("a/b", "x")).await.unwrap();
    let mut connection = AnyConnection::connect(&url).await.unwrap();
    let newer = "INSERT INTO fnbridge_migrations (version) VALUES (999)";
    sqlx::query(newer).execute(&mut connection).await.unwrap();
    let refused = store::open(&url).unwrap().get("a/b").await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Unusable(reason) if reason.contains("a newer fnbridge has used it")),
        "{refused}"
    );
}
