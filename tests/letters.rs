//! An index of 1,000,000 dead letters: how fast it is filled, and how long lists and groups take. `./run tests letters` prints
//! the table of `docs/dead-letters.md`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fnbridge::deadletter::Told;
use fnbridge::delivery::record::TopicPartition;
use fnbridge::letters::{Filter, Index, Letter, Newest, Standing, Stands, key_digest};

const LETTERS: i64 = 1_000_000;
const AT_ONCE: i64 = 2_000;
const FIRST_MS: i64 = 1_764_000_000_000;
/// How long the first page of any list may take.
const LIST_WITHIN: Duration = Duration::from_millis(100);
/// How long groups may take.
const GROUPS_WITHIN: Duration = Duration::from_secs(1);

#[test]
#[ignore = "it takes a minute: ./run tests letters"]
fn among_a_million_letters_the_first_page_and_the_groups_come_at_once() {
    let file = std::env::temp_dir().join(format!("fnbridge-letters-bench-{}.db", std::process::id()));
    let url = format!("sqlite://{}", file.display());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let slow = runtime.block_on(async { measure(&Index::open(&url).unwrap()).await });
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
    }
    assert!(slow.is_empty(), "too slow: {slow:?}");
}

async fn measure(index: &Index) -> Vec<String> {
    let began = Instant::now();
    for from in (0..LETTERS).step_by(AT_ONCE as usize) {
        let letters: Vec<Letter> = (from..from + AT_ONCE).map(letter).collect();
        index.add(&letters, &BTreeMap::new()).await.unwrap();
    }
    let rate = LETTERS as f64 / began.elapsed().as_secs_f64();
    println!("| what | time |\n|---|---|");
    println!("| {LETTERS} letters are indexed | {rate:.0} a second |");

    let mut slow = Vec::new();
    let mut note = |what: &str, took: Duration, most: Duration| {
        println!("| {what} | {:.1} ms |", took.as_secs_f64() * 1000.0);
        if took > most {
            slow.push(what.to_owned());
        }
    };
    let text = |text: &str| Some(text.to_owned());
    let all = Filter::default;
    let filters = [
        ("all", all()),
        (
            "open",
            Filter {
                standings: vec![Standing::Open, Standing::Unknown],
                ..all()
            },
        ),
        (
            "of a pipeline",
            Filter {
                pipeline: text("p7"),
                ..all()
            },
        ),
        (
            "in a range of a partition",
            Filter {
                topic: text("d"),
                partition: Some(3),
                from_offset: Some(9_000),
                to_offset: Some(9_500),
                ..all()
            },
        ),
        (
            "of an hour",
            Filter {
                since_ms: Some(FIRST_MS + 3_600_000),
                until_ms: Some(FIRST_MS + 7_200_000),
                ..all()
            },
        ),
        (
            "with a key",
            Filter {
                key: Some(key_digest(b"k123456")),
                ..all()
            },
        ),
        (
            "of a stage that is rare",
            Filter {
                stage: text("sink"),
                ..all()
            },
        ),
        (
            "with a status that none has",
            Filter {
                status: Some(418),
                ..all()
            },
        ),
        (
            "of a group",
            Filter {
                fingerprint: text("f00000000000000b"),
                ..all()
            },
        ),
        (
            "whose reason holds a text that is common",
            Filter {
                reason: text("customer"),
                ..all()
            },
        ),
        (
            "whose reason holds a text that one has",
            Filter {
                reason: text("customer 500011 "),
                ..all()
            },
        ),
        (
            "whose reason holds a text that none has",
            Filter {
                reason: text("no such text"),
                ..all()
            },
        ),
    ];
    for (what, filter) in filters {
        let began = Instant::now();
        index.list(&filter, Newest::First, None, 100).await.unwrap();
        note(&format!("first page, {what}"), began.elapsed(), LIST_WITHIN);
    }
    for (what, filter) in [
        ("all", all()),
        (
            "of a pipeline",
            Filter {
                pipeline: text("p7"),
                ..all()
            },
        ),
    ] {
        let began = Instant::now();
        index.groups(&filter, 24, 100).await.unwrap();
        note(&format!("groups, {what}"), began.elapsed(), GROUPS_WITHIN);
    }
    slow
}

fn letter(n: i64) -> Letter {
    let place = |topic: &str| TopicPartition {
        topic: topic.into(),
        partition: i32::try_from(n % 12).unwrap(),
    };
    let group = n % 40;
    Letter {
        place: place("d"),
        offset: n / 12,
        at_ms: FIRST_MS + n * 40,
        bytes: 1_000,
        key: Some(key_digest(format!("k{n}").as_bytes())),
        told: Told {
            pipeline: Some(format!("p{}", n % 20)),
            source: Some(place("orders")),
            offset: Some(n),
            stage: if n % 50_000 == 7 { "sink" } else { "function" }.to_owned(),
            status: Some(if group < 20 { 500 } else { 422 }),
            reason: format!("the function answered in way {group}: customer {n} is unknown to the ledger of the year"),
            fingerprint: format!("f{group:015x}"),
            attempts: Some(5),
            first_failed_ms: Some(FIRST_MS + n * 40 - 3_000),
            last_failed_ms: Some(FIRST_MS + n * 40),
            redrives: 0,
            sink: None,
            foreign: false,
        },
        stands: Stands::default(),
    }
}
