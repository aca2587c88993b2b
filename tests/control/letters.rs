//! The index of dead letters answers the same from PostgreSQL as from SQLite, where it is held against a naive model.

use std::collections::BTreeMap;

use fnbridge::deadletter::Told;
use fnbridge::delivery::record::{Header, Record, TopicPartition};
use fnbridge::letters::{Filter, Index, Letter, Marked, Newest, Standing, Stands};

use crate::servers::{self, Kind};

pub fn answers_are_the_same_from_postgres_as_from_sqlite() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let sqlite = Index::open("sqlite::memory:").unwrap();
        let postgres = Index::open(&servers::shared(Kind::Postgres, "letters")).unwrap();
        let letters: Vec<Letter> = (0..6_500).map(letter).collect();
        let read = BTreeMap::from([(place("b", 1), 7), (place("A", 0), 3)]);
        for index in [&sqlite, &postgres] {
            index.add(&letters, &read).await.unwrap();
            index.add(&letters[..50], &read).await.unwrap();
            index.mark(&marks()).await.unwrap();
            index.forget(&place("b", 1), Some(5)).await.unwrap();
            index.forget(&place("A", 0), None).await.unwrap();
        }
        assert_eq!(sqlite.read_up_to().await.unwrap(), postgres.read_up_to().await.unwrap());
        for filter in filters() {
            let groups = sqlite.groups(&filter, 6, 100).await.unwrap();
            assert_eq!(groups, postgres.groups(&filter, 6, 100).await.unwrap(), "{filter:?}");
            let tally = sqlite.tally(&filter).await.unwrap();
            assert_eq!(tally, postgres.tally(&filter).await.unwrap(), "{filter:?}");
            let spans = sqlite.spans(&filter).await.unwrap();
            assert_eq!(spans, postgres.spans(&filter).await.unwrap(), "{filter:?}");
            for newest in [Newest::First, Newest::Last] {
                let pages = pages(&sqlite, &filter, newest).await;
                assert_eq!(pages, self::pages(&postgres, &filter, newest).await, "{filter:?}");
                assert_eq!(pages.len() as u64, groups.iter().map(|group| group.count).sum::<u64>());
            }
        }
        let endless = letter_with_endless_names();
        for index in [&sqlite, &postgres] {
            index
                .add(std::slice::from_ref(&endless), &BTreeMap::new())
                .await
                .unwrap();
            let found = index.get(&endless.place, endless.offset).await.unwrap();
            assert_eq!(found.as_ref(), Some(&endless));
        }
    });
}

/// Other tools' headers say what they like, in letters that no database makes smaller.
fn letter_with_endless_names() -> Letter {
    let endless: String = std::iter::repeat_with(|| fastrand::char('𐀀'..'🿿'))
        .take(20_000)
        .collect();
    let names = [
        "fnbridge.pipeline",
        "fnbridge.stage",
        "fnbridge.sink",
        "fnbridge.reason",
        "__connect.errors.topic",
    ];
    let headers = names.map(|name| Header {
        name: name.to_owned(),
        value: Some(endless.clone().into()),
    });
    let record = Record {
        source: place(&"t".repeat(249), 0),
        offset: 0,
        generation: 0,
        timestamp_ms: 0,
        key: None,
        value: None,
        headers: headers.into(),
    };
    Letter::of(&record, None)
}

async fn pages(index: &Index, filter: &Filter, newest: Newest) -> Vec<Letter> {
    let (mut letters, mut after) = (Vec::new(), None);
    loop {
        let page = index.list(filter, newest, after.as_deref(), 370).await.unwrap();
        letters.extend(page.letters);
        after = page.next;
        if after.is_none() {
            return letters;
        }
    }
}

fn filters() -> Vec<Filter> {
    let text = |text: &str| Some(text.to_owned());
    let all = Filter::default;
    vec![
        all(),
        Filter {
            pipeline: text("p-2"),
            ..all()
        },
        Filter {
            prefix: "p-".to_owned(),
            ..all()
        },
        Filter {
            prefix: "P".to_owned(),
            ..all()
        },
        Filter {
            topic: text("b"),
            partition: Some(1),
            from_offset: Some(9),
            to_offset: Some(60),
            ..all()
        },
        Filter {
            since_ms: Some(20),
            until_ms: Some(40),
            ..all()
        },
        Filter {
            stage: text("sink"),
            ..all()
        },
        Filter {
            stage: text("function"),
            status: Some(503),
            ..all()
        },
        Filter {
            status: Some(418),
            ..all()
        },
        Filter {
            reason: text("100% of ZONE_1"),
            ..all()
        },
        Filter {
            reason: text("é"),
            ..all()
        },
        // Too far from either end to be met on the way.
        Filter {
            reason: text("Zx-\"77%"),
            ..all()
        },
        Filter {
            pipeline: text("p-2"),
            reason: text("no such text"),
            ..all()
        },
        Filter {
            fingerprint: text("f2"),
            ..all()
        },
        Filter {
            key: text("k3"),
            ..all()
        },
        Filter {
            standings: vec![Standing::Open, Standing::Unknown],
            ..all()
        },
        Filter {
            standings: vec![Standing::Open, Standing::Redriven],
            job: text("r1"),
            ..all()
        },
    ]
}

fn place(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: topic.into(),
        partition,
    }
}

fn marks() -> Vec<Marked> {
    let mark = |offset: i64| Marked {
        place: place("a", 0),
        offset,
        stands: Stands {
            standing: Standing::ALL[(offset % 5) as usize],
            job: Some("r1".to_owned()),
            result: (offset % 2 > 0).then(|| "delivered".to_owned()),
        },
        at_ms: 5,
    };
    (0..60).map(mark).collect()
}

fn letter(n: i64) -> Letter {
    let group = n % 5;
    let told = Told {
        pipeline: [None, Some("p-1"), Some("p-2"), Some("P-3")][(n % 4) as usize].map(str::to_owned),
        source: (n % 3 > 0).then(|| place("orders", 2)),
        offset: (n % 3 > 0).then_some(n),
        stage: if group == 4 { "sink" } else { "function" }.to_owned(),
        status: (group < 4).then_some(500 + group as u16),
        reason: match n % 3_250 {
            77 => "no ZX-\"77% left".to_owned(),
            _ => format!("{}% of zone_{group} is café", 100 - n % 3),
        },
        fingerprint: format!("f{group}"),
        attempts: (n % 2 > 0).then_some(3),
        first_failed_ms: (n % 7 > 0).then_some(n),
        last_failed_ms: None,
        redrives: (n % 2) as u32,
        sink: (group == 4).then(|| "out".to_owned()),
        foreign: n % 2 > 0,
    };
    Letter {
        place: place(["A", "b", "a"][(n % 3) as usize], (n % 2) as i32),
        offset: n / 6,
        // Many stand at one time, in several topics.
        at_ms: n / 12,
        bytes: 9,
        key: (n % 6 > 0).then(|| format!("k{}", n % 6)),
        told,
        stands: Stands::default(),
    }
}
