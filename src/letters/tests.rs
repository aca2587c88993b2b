//! The index against a naive model: a list that is filtered, sorted and counted by hand.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::delivery::record::Header;

fn topic(name: &str, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: name.into(),
        partition,
    }
}

fn letter(
    (partition, offset, at_ms, pipeline, status, word, key): (i32, i64, i64, u8, Option<u16>, u8, Option<u8>),
) -> Letter {
    let header = |name: &str, value: String| Header {
        name: name.to_owned(),
        value: Some(value.into()),
    };
    let mut headers = vec![
        header("fnbridge.pipeline", format!("p{pipeline}")),
        header("fnbridge.stage", "function".to_owned()),
        header(
            "fnbridge.reason",
            format!("Reason_{} of order {offset}", ["100%", "b", "c"][usize::from(word)]),
        ),
        header(
            "fnbridge.last-failed",
            jiff::Timestamp::from_millisecond(at_ms).unwrap().to_string(),
        ),
    ];
    headers.extend(status.map(|status| header("fnbridge.http.status", status.to_string())));
    Letter::of(
        &Record {
            source: topic("d", partition),
            offset,
            generation: 0,
            timestamp_ms: 5,
            key: key.map(|key| vec![key].into()),
            value: None,
            headers,
        },
        None,
    )
}

fn letters() -> impl Strategy<Value = Vec<Letter>> {
    let one = (
        0..3i32,
        0..40i64,
        0..20i64,
        0..3u8,
        prop::option::of(400..403u16),
        0..3u8,
        prop::option::of(0..3u8),
    );
    prop::collection::vec(one.prop_map(letter), 0..60).prop_map(|letters| {
        let by_place: BTreeMap<_, _> = letters.into_iter().map(|letter| (letter.id(), letter)).collect();
        by_place.into_values().collect()
    })
}

fn filters() -> impl Strategy<Value = Filter> {
    (
        (
            prop::option::of(0..4u8),
            prop::option::of(0..3i32),
            prop::option::of(0..40i64),
            prop::option::of(0..20i64),
        ),
        (
            prop::option::of(400..403u16),
            prop::option::of(0..4u8),
            prop::option::of(0..3u8),
            prop::bool::ANY,
            prop::sample::subsequence(Standing::ALL.to_vec(), 0..4),
        ),
    )
        .prop_map(
            |((pipeline, partition, from_offset, since_ms), (status, word, key, prefix, standings))| Filter {
                pipeline: pipeline.map(|pipeline| format!("p{pipeline}")),
                prefix: if prefix { "p1".to_owned() } else { String::new() },
                partition,
                from_offset,
                since_ms,
                status,
                reason: word.map(|word| ["reason_100%", "_B", "ORDER 1", "%"][usize::from(word)].to_owned()),
                key: key.map(|key| key_digest(&[key])),
                standings,
                ..Filter::default()
            },
        )
}

fn by_time(letter: &Letter) -> (i64, i32, i64) {
    (letter.at_ms, letter.place.partition, letter.offset)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// What was done, some of it before the letters are read, some of it afterwards.
fn marks() -> impl Strategy<Value = Vec<Marked>> {
    let one = (
        0..3i32,
        0..40i64,
        prop::sample::select(Standing::ALL.to_vec()),
        any::<bool>(),
    );
    let marked = one.prop_map(|(partition, offset, standing, is_old)| Marked {
        place: topic("d", partition),
        offset,
        stands: Stands {
            standing,
            job: Some(format!("job-{offset}")),
            result: None,
        },
        at_ms: if is_old { -CLOCKS_DIFFER_MS + 10 } else { 10 },
    });
    prop::collection::vec(marked, 0..60).prop_map(|marks| {
        let by_place: BTreeMap<_, _> = marks
            .into_iter()
            .map(|mark| ((mark.place.clone(), mark.offset), mark))
            .collect();
        by_place.into_values().collect()
    })
}

/// The letters as they stand after these.
fn marked(letters: &[Letter], marks: &[Marked]) -> Vec<Letter> {
    let mark_of = |letter: &Letter| {
        let mark = marks
            .iter()
            .find(|mark| mark.place == letter.place && mark.offset == letter.offset);
        mark.filter(|mark| mark.at_ms + CLOCKS_DIFFER_MS >= letter.at_ms)
    };
    let stands = |letter: &Letter| mark_of(letter).map_or_else(Stands::default, |mark| mark.stands.clone());
    (letters.iter())
        .map(|letter| Letter {
            stands: stands(letter),
            ..letter.clone()
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_list_page_by_page_and_its_groups_are_what_a_search_by_hand_finds(
        letters in letters(), marks in marks(), filter in filters(), newest_first in prop::bool::ANY, limit in 1usize..20,
    ) {
        run(async {
            let index = Index::open("sqlite::memory:").unwrap();
            let (before, after) = marks.split_at(marks.len() / 2);
            index.mark(before).await.unwrap();
            index.add(&letters, &BTreeMap::new()).await.unwrap();
            index.mark(after).await.unwrap();
            let letters = marked(&letters, &marks);
            let mut expected: Vec<Letter> = letters.iter().filter(|letter| filter.wants(letter)).cloned().collect();
            expected.sort_by_key(by_time);
            let newest = if newest_first { Newest::First } else { Newest::Last };
            if newest_first {
                expected.reverse();
            }
            let mut found = Vec::new();
            let mut after = None;
            loop {
                let page = index.list(&filter, newest, after.as_deref(), limit).await.unwrap();
                prop_assert!(page.letters.len() <= limit);
                found.extend(page.letters);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            prop_assert_eq!(&found, &expected);

            let groups = index.groups(&filter, 4, 100).await.unwrap();
            let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
            expected.iter().for_each(|letter| *counted.entry(&letter.told.fingerprint).or_default() += 1);
            prop_assert_eq!(groups.len(), counted.len());
            for group in &groups {
                prop_assert_eq!(group.count, counted[group.fingerprint.as_str()]);
                prop_assert_eq!(group.histogram.iter().sum::<u64>(), group.count, "each is in one part of the time");
                let own = expected.iter().filter(|letter| letter.told.fingerprint == group.fingerprint);
                prop_assert_eq!(Some(&group.sample), own.clone().max_by_key(|letter| by_time(letter)));
                prop_assert_eq!(group.first_ms, own.map(|letter| letter.at_ms).min().unwrap());
            }
            let tallied = index.tally(&filter).await.unwrap();
            prop_assert_eq!(tallied.iter().map(|tally| tally.count).sum::<u64>(), expected.len() as u64);
            prop_assert_eq!(tallied.iter().map(|tally| tally.bytes).sum::<u64>(), expected.iter().map(|l| l.bytes).sum::<u64>());
            for (place, (first, last)) in index.spans(&filter).await.unwrap() {
                let own = || expected.iter().filter(|letter| letter.place == place).map(|letter| letter.offset);
                prop_assert_eq!((Some(first), Some(last)), (own().min(), own().max()));
            }
            prop_assert!(groups.windows(2).all(|two| two[0].count >= two[1].count), "the largest first");
            Ok(())
        })?;
    }
}

#[test]
fn what_is_added_twice_is_there_once_and_what_is_gone_from_the_log_goes() {
    run(async {
        let index = Index::open("sqlite::memory:").unwrap();
        let letters: Vec<Letter> = (0..500)
            .map(|offset| letter((0, offset, offset, 0, None, 1, None)))
            .collect();
        let place = topic("d", 0);
        let read = |next: i64| BTreeMap::from([(place.clone(), next)]);
        index.add(&letters, &read(500)).await.unwrap();
        index.add(&letters[100..], &read(500)).await.unwrap();
        let count = async || {
            index
                .groups(&Filter::default(), 1, 9)
                .await
                .unwrap()
                .first()
                .map_or(0, |group| group.count)
        };
        assert_eq!((count().await, index.read_up_to().await.unwrap()), (500, read(500)));
        index.forget(&place, Some(480)).await.unwrap();
        assert_eq!((count().await, index.read_up_to().await.unwrap()), (20, read(500)));
        assert!(index.get(&place, 479).await.unwrap().is_none());
        assert_eq!(index.get(&place, 480).await.unwrap().unwrap(), letters[480]);
        index.forget(&place, None).await.unwrap();
        assert_eq!((count().await, index.read_up_to().await.unwrap().len()), (0, 0));
    });
}

#[test]
fn an_index_in_a_file_is_found_again_and_one_of_another_version_is_made_anew() {
    let file = std::env::temp_dir().join(format!("fnbridge-letters-{}.db", std::process::id()));
    let url = format!("sqlite://{}", file.display());
    run(async {
        let index = Index::open(&url).unwrap();
        let one = [letter((0, 1, 1, 0, None, 1, None))];
        index.add(&one, &BTreeMap::new()).await.unwrap();
        drop(index);
        let again = Index::open(&url).unwrap();
        assert_eq!(
            again
                .list(&Filter::default(), Newest::First, None, 9)
                .await
                .unwrap()
                .letters,
            one
        );
        let other = again.list(&Filter::default(), Newest::First, Some("nonsense"), 9).await;
        assert!(other.unwrap_err().to_string().contains("found \"nonsense\""));
    });
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
    }
}

#[test]
fn ids_are_read_from_the_right() {
    assert_eq!(place_of("a.b/3/42"), Some((topic("a.b", 3), 42)));
    for wrong in ["", "a/3", "/3/4", "a/-1/3", "a/1/-3", "a/b/c"] {
        assert_eq!(place_of(wrong), None, "{wrong}");
    }
}
