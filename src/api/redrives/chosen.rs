//! Which letters somebody chose: by their ids, by what they have in common, or all of a pipeline's.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::App;
use crate::api::asked::allow;
use crate::api::letters::{filter, index, refuse_contents};
use crate::api::operate::settings;
use crate::api::problem::{Kind, Problem};
use crate::api::wire::LetterQuery;
use crate::control::access::{Caller, Role};
use crate::control::redrives::Asked;
use crate::delivery::record::TopicPartition;
use crate::letters::{Filter, KeysOfLetters, Letter, Tally, place_of};
use crate::pipeline::PipelineSettings;
use crate::redrive::{Ask, Pipeline, Refused, To, Wanted, Way};

/// Letters in one request, by their ids.
const MOST_IDS: usize = 1000;

/// What somebody says of the letters.
pub(super) struct Which {
    pub(super) pipeline: Option<String>,
    pub(super) ids: Vec<String>,
    pub(super) matching: Option<LetterQuery>,
    pub(super) all: bool,
}

/// The letters, and the pipeline that they are of.
pub(super) struct Chosen {
    pub(super) settings: PipelineSettings,
    pub(super) wanted: Wanted,
    /// Where they lie: the first offset, and the one after the last, by partition.
    ranges: BTreeMap<i32, (i64, i64)>,
    tallies: Vec<Tally>,
    /// The records that they were, with their keys.
    pub(super) keys: KeysOfLetters,
    /// Ids that the index does not have.
    missing: u64,
    /// The topics that they came from, as far as they are known.
    pub(super) source_topics: BTreeSet<String>,
}

/// How many letters would go which way.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) letters: u64,
    pub(super) sends: u64,
    pub(super) bytes: u64,
    pub(super) to_sink: u64,
    pub(super) refused: BTreeMap<String, (String, u64)>,
}

/// Finds the letters that are wanted.
pub(super) async fn choose(app: &App, caller: &Caller, role: Role, which: Which) -> Result<Chosen, Problem> {
    let wrong = |field: &str, detail: &str| Problem::new(Kind::InvalidRequest, detail).at(field);
    let ways = [!which.ids.is_empty(), which.matching.is_some(), which.all];
    if ways.into_iter().filter(|is_said| *is_said).count() != 1 {
        return Err(wrong(
            "ids",
            "expected one of `ids`, `matching` and `all`, which says which letters are meant",
        ));
    }
    if which.ids.len() > MOST_IDS {
        let detail = format!(
            "found {} ids, expected at most {MOST_IDS}: choose by what they have in common",
            which.ids.len()
        );
        return Err(wrong("ids", &detail));
    }
    if !which.ids.is_empty() {
        return choose_ids(app, caller, role, &which.ids, which.pipeline).await;
    }
    let query = which.matching.unwrap_or_default();
    refuse_contents(&query)?;
    let name = which.pipeline.or_else(|| query.pipeline.clone());
    let name = name.ok_or_else(|| wrong("pipeline", "expected the pipeline that the letters are of"))?;
    allow(caller, role, &name)?;
    let settings = settings(app, &name).await?;
    let filter = Filter {
        topic: Some(settings.dead_letter.topic.clone()),
        prefix: String::new(),
        ..filter(
            caller,
            LetterQuery {
                pipeline: Some(name),
                ..query
            },
        )?
    };
    let index = index(app).await?;
    let spans = index.spans(&filter).await?;
    Ok(Chosen {
        ranges: (spans.into_iter())
            .map(|(place, (first, last))| (place.partition, (first, last + 1)))
            .collect(),
        tallies: index.tally(&filter).await?,
        keys: index.keys(&filter).await?,
        missing: 0,
        source_topics: settings.dead_letter.sources.iter().cloned().collect(),
        settings,
        // How each of them stands is looked at when its turn comes.
        wanted: Wanted::Matching(Box::new(Filter {
            standings: Vec::new(),
            ..filter
        })),
    })
}

async fn choose_ids(
    app: &App,
    caller: &Caller,
    role: Role,
    ids: &[String],
    pipeline: Option<String>,
) -> Result<Chosen, Problem> {
    let index = index(app).await?;
    let mut places: BTreeSet<(TopicPartition, i64)> = BTreeSet::new();
    let mut letters: Vec<Letter> = Vec::new();
    let mut missing = 0;
    for id in ids {
        let (place, offset) = place_of(id).ok_or_else(|| no_id(id))?;
        if !places.insert((place.clone(), offset)) {
            continue;
        }
        match index.get(&place, offset).await? {
            Some(letter) => letters.push(letter),
            None => missing += 1,
        }
    }
    let of_first = letters.first().and_then(|letter| letter.told.pipeline.clone());
    let name = pipeline.or(of_first).ok_or_else(|| {
        let detail = format!("found no dead letter {:?}; GET /v1/dead-letters lists them", ids[0]);
        Problem::new(Kind::NotFound, detail)
    })?;
    allow(caller, role, &name)?;
    let settings = settings(app, &name).await?;
    let topic = &settings.dead_letter.topic;
    if let Some((other, offset)) = places.iter().find(|(place, _)| *place.topic != **topic) {
        let detail = format!(
            "found {other}/{offset}, expected letters of one pipeline: those of {name} stand in {topic}; send a request for each \
             pipeline"
        );
        return Err(Problem::new(Kind::InvalidRequest, detail).at("ids"));
    }
    let mut ranges: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
    for (place, offset) in &places {
        let range = ranges.entry(place.partition).or_insert((*offset, *offset + 1));
        range.1 = offset + 1;
    }
    Ok(Chosen {
        wanted: Wanted::Ids(
            places
                .iter()
                .map(|(place, offset)| (place.partition, *offset))
                .collect(),
        ),
        ranges,
        tallies: letters.iter().map(tally).collect(),
        keys: KeysOfLetters::of(&letters),
        missing,
        source_topics: (letters.iter())
            .filter_map(|letter| letter.told.source.as_ref())
            .map(|source| source.topic.to_string())
            .collect(),
        settings,
    })
}

pub(super) fn no_id(id: &str) -> Problem {
    let detail = format!("found the id {id:?}, expected TOPIC/PARTITION/OFFSET of a dead-letter topic");
    Problem::new(Kind::InvalidRequest, detail).at("ids")
}

fn tally(letter: &Letter) -> Tally {
    let told = &letter.told;
    Tally {
        pipeline: told.pipeline.clone().unwrap_or_default(),
        stage: told.stage.clone(),
        sink: told.sink.clone(),
        redrives: told.redrives,
        foreign: told.foreign,
        has_source: told.source.is_some() && told.offset.is_some(),
        standing: letter.stands.standing,
        count: 1,
        bytes: letter.bytes,
    }
}

impl Chosen {
    /// How many letters would go which way.
    pub(super) fn counted(&self, to: To, unknown: bool) -> Counted {
        let pipeline = Pipeline {
            name: self.settings.name.clone(),
            sinks: self.settings.sink_names(),
            max_redrives: self.settings.dead_letter.max_redrives,
        };
        let ask = Ask { to, unknown };
        let mut counted = Counted::default();
        let mut refuse = |refused: &Refused, letters: u64| {
            let entry = counted.refused.entry(refused.code().to_owned());
            entry.or_insert_with(|| (refused.to_string(), 0)).1 += letters;
        };
        if self.missing > 0 {
            refuse(&Refused::Gone, self.missing);
        }
        let mut sent: Vec<(&Tally, Way)> = Vec::new();
        for tally in &self.tallies {
            match ask.way_of(tally, &pipeline) {
                Ok(way) => sent.push((tally, way)),
                Err(refused) => refuse(&refused, tally.count),
            }
        }
        for (tally, way) in sent {
            counted.sends += tally.count;
            counted.bytes += tally.bytes;
            counted.to_sink += if matches!(way, Way::Sink(_)) { tally.count } else { 0 };
        }
        counted.letters = self.missing + self.tallies.iter().map(|tally| tally.count).sum::<u64>();
        counted
    }

    /// What is asked for of them, as far as the choice says.
    pub(super) fn asked(self, why: String) -> Asked {
        Asked {
            pipeline: self.settings.name.clone(),
            cluster: self.settings.dead_letter.cluster.name.clone(),
            topic: self.settings.dead_letter.topic.clone(),
            expected: self.missing + self.tallies.iter().map(|tally| tally.count).sum::<u64>(),
            passed: None,
            wanted: self.wanted,
            ranges: self.ranges,
            to: To::Pipeline,
            unknown: false,
            rate: None,
            max: None,
            max_failed: 1.0,
            edit: None,
            why,
        }
    }
}
