//! Where a dead letter goes when it is sent through again, or why it does not.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::delivery::record::SinkId;
use crate::letters::{Letter, Standing, Tally};

/// Where letters are to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum To {
    /// Through the pipeline: its function and its sinks; a letter that a sink refused, to that sink alone, with the result that was
    /// kept.
    #[default]
    Pipeline,
    /// Through the function, even where its result was kept.
    Function,
    /// To the source topic, where all of its readers see it again.
    Source,
}

/// What decides, of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Its sinks, by number.
    pub sinks: Vec<String>,
    /// How often a letter may be sent through again.
    pub max_redrives: u32,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Where letters are to go.
    pub to: To,
    /// Letters of which nobody knows whether they were redriven go, too.
    pub unknown: bool,
}

/// Where a letter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through the function, and on to the sinks.
    Function,
    /// Its kept result goes to this sink.
    Sink(SinkId),
    /// To the topic that it came from.
    Source,
}

/// Why a letter is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another tool wrote it.
    Foreign,
    /// Another pipeline gave it up.
    OtherPipeline(Option<String>),
    /// It does not say where it came from.
    NoSource,
    /// It was seen to already.
    SeenTo(Standing),
    /// Nobody knows whether it was.
    Unknown,
    /// It was sent through as often as it may be.
    LoopGuard {
        /// How often it was.
        redrives: u32,
        /// How often it may be.
        max: u32,
    },
    /// The sink that refused it is no longer the pipeline's.
    NoSuchSink(String),
    /// The result that the sink refused was not kept.
    NoResult(String),
    /// It is no longer in its topic.
    Gone,
}

impl Refused {
    /// The reason's name.
    pub fn code(&self) -> &'static str {
        match self {
            Refused::Foreign => "foreign",
            Refused::OtherPipeline(_) => "other_pipeline",
            Refused::NoSource => "no_source",
            Refused::SeenTo(_) => "seen_to",
            Refused::Unknown => "unknown",
            Refused::LoopGuard { .. } => "loop_guard",
            Refused::NoSuchSink(_) => "no_such_sink",
            Refused::NoResult(_) => "no_result",
            Refused::Gone => "gone",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Foreign => f.write_str("another tool wrote it, and no pipeline owns it"),
            Refused::OtherPipeline(Some(name)) => write!(f, "pipeline {name} gave it up: redrive it through that one"),
            Refused::OtherPipeline(None) => f.write_str("it does not say which pipeline gave it up"),
            Refused::NoSource => f.write_str("its headers do not say which record it was"),
            Refused::SeenTo(standing) => write!(f, "it is {} already", standing.name()),
            Refused::Unknown => f.write_str(
                "it is older than the store that knows what was redriven: ask for it with `unknown` (--unknown) if it was not",
            ),
            Refused::LoopGuard { redrives, max } => write!(
                f,
                "it was redriven {redrives} times, and `dead_letter.max_redrives` is {max}: raise it, edit the letter, or discard it"
            ),
            Refused::NoSuchSink(name) => write!(
                f,
                "the pipeline has no sink {name:?} any more: send it through the function (--to function)"
            ),
            Refused::NoResult(reason) => write!(f, "{reason}: send it through the function (--to function)"),
            Refused::Gone => f.write_str("it is no longer in its topic"),
        }
    }
}

/// What decides, of a letter.
struct Facts<'a> {
    pipeline: Option<&'a str>,
    stage: &'a str,
    sink: Option<&'a str>,
    redrives: u32,
    foreign: bool,
    has_source: bool,
    standing: Standing,
}

impl Ask {
    /// Where a letter goes, or why it does not. What its record says of a kept result is seen when it is read.
    ///
    /// # Errors
    /// Why it is not sent.
    pub fn way(&self, letter: &Letter, pipeline: &Pipeline) -> Result<Way, Refused> {
        let told = &letter.told;
        self.decide(
            &Facts {
                pipeline: told.pipeline.as_deref(),
                stage: &told.stage,
                sink: told.sink.as_deref(),
                redrives: told.redrives,
                foreign: told.foreign,
                has_source: told.source.is_some() && told.offset.is_some(),
                standing: letter.stands.standing,
            },
            pipeline,
        )
    }

    /// The same of letters that were counted.
    ///
    /// # Errors
    /// Why they are not sent.
    pub fn way_of(&self, tally: &Tally, pipeline: &Pipeline) -> Result<Way, Refused> {
        self.decide(
            &Facts {
                pipeline: Some(tally.pipeline.as_str()).filter(|name| !name.is_empty()),
                stage: &tally.stage,
                sink: tally.sink.as_deref(),
                redrives: tally.redrives,
                foreign: tally.foreign,
                has_source: tally.has_source,
                standing: tally.standing,
            },
            pipeline,
        )
    }

    fn decide(&self, facts: &Facts<'_>, pipeline: &Pipeline) -> Result<Way, Refused> {
        if facts.foreign {
            return Err(Refused::Foreign);
        }
        if facts.pipeline != Some(pipeline.name.as_str()) {
            return Err(Refused::OtherPipeline(facts.pipeline.map(str::to_owned)));
        }
        match facts.standing {
            Standing::Open => {}
            Standing::Unknown if self.unknown => {}
            Standing::Unknown => return Err(Refused::Unknown),
            seen_to => return Err(Refused::SeenTo(seen_to)),
        }
        if !facts.has_source {
            return Err(Refused::NoSource);
        }
        if facts.redrives >= pipeline.max_redrives {
            return Err(Refused::LoopGuard {
                redrives: facts.redrives,
                max: pipeline.max_redrives,
            });
        }
        match (self.to, facts.stage, facts.sink) {
            (To::Source, ..) => Ok(Way::Source),
            (To::Pipeline, "sink", Some(name)) => {
                let at = pipeline.sinks.iter().position(|sink| sink == name);
                let at = at.and_then(|at| u16::try_from(at).ok());
                at.map(|at| Way::Sink(SinkId(at)))
                    .ok_or_else(|| Refused::NoSuchSink(name.to_owned()))
            }
            _ => Ok(Way::Function),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        Tally {
            pipeline: "p".into(),
            stage: "function".into(),
            sink: None,
            redrives: 2,
            foreign: false,
            has_source: true,
            standing: Standing::Open,
            count: 1,
            bytes: 1,
        }
    }

    fn pipeline() -> Pipeline {
        Pipeline {
            name: "p".into(),
            sinks: vec!["a".into(), "b".into()],
            max_redrives: 3,
        }
    }

    fn way(to: To, tally: &Tally) -> Result<Way, &'static str> {
        let ask = Ask { to, unknown: false };
        ask.way_of(tally, &pipeline()).map_err(|refused| refused.code())
    }

    #[test]
    fn a_letter_of_a_sink_goes_to_that_sink_alone_unless_the_function_is_asked_for() {
        let of_sink = Tally {
            stage: "sink".into(),
            sink: Some("b".into()),
            ..tally()
        };
        assert_eq!(way(To::Pipeline, &of_sink), Ok(Way::Sink(SinkId(1))));
        assert_eq!(way(To::Function, &of_sink), Ok(Way::Function));
        assert_eq!(way(To::Source, &of_sink), Ok(Way::Source));
        let of_none = Tally {
            sink: Some("c".into()),
            ..of_sink
        };
        assert_eq!(way(To::Pipeline, &of_none), Err("no_such_sink"));
        assert_eq!(way(To::Pipeline, &tally()), Ok(Way::Function));
    }

    #[test]
    fn what_was_seen_to_is_not_sent_and_what_nobody_knows_only_when_asked() {
        for standing in Standing::ALL {
            let stands = Tally { standing, ..tally() };
            let expected = match standing {
                Standing::Open => Ok(Way::Function),
                Standing::Unknown => Err("unknown"),
                _ => Err("seen_to"),
            };
            assert_eq!(way(To::Pipeline, &stands), expected);
        }
        let unknown = Tally {
            standing: Standing::Unknown,
            ..tally()
        };
        let asked = Ask {
            to: To::Pipeline,
            unknown: true,
        };
        assert_eq!(asked.way_of(&unknown, &pipeline()), Ok(Way::Function));
    }

    #[test]
    fn loops_foreign_letters_and_those_of_others_are_refused() {
        let often = Tally { redrives: 3, ..tally() };
        assert_eq!(way(To::Source, &often), Err("loop_guard"), "to the source as well");
        let foreign = Tally {
            foreign: true,
            ..tally()
        };
        assert_eq!(way(To::Pipeline, &foreign), Err("foreign"));
        let others = Tally {
            pipeline: "q".into(),
            ..tally()
        };
        assert_eq!(way(To::Pipeline, &others), Err("other_pipeline"));
        let lies = Tally {
            has_source: false,
            ..tally()
        };
        assert_eq!(way(To::Pipeline, &lies), Err("no_source"));
    }
}
