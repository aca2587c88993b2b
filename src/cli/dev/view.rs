//! What `fnbridge dev` shows, as lines: a pure function of what is known.

use std::collections::VecDeque;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use fnbridge_delivery::answer::Disposition;
use fnbridge_delivery::event::{PartitionView, View};

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default();
const NAME: Style = AnsiColor::Cyan.on_default();

/// How many results and dead letters are kept to be shown.
const KEPT: usize = 64;

/// Partitions shown one by one; the rest is counted.
const PARTITIONS_SHOWN: usize = 8;

/// Everything that the live view knows.
pub(super) struct Model {
    /// How the pieces are put together; does not change.
    pub(super) setup: Setup,
    /// Since the start.
    pub(super) elapsed: Duration,
    /// How long the first result took, once there is one.
    pub(super) first_result: Option<Duration>,
    /// Records that the feeder put into the topic.
    pub(super) fed: u64,
    /// Whether the feeder has come to its end, and how.
    pub(super) feeding: Feeding,
    /// What the pipeline's task looks like.
    pub(super) task: View,
    /// Calls by what they came to.
    pub(super) attempts: Vec<(&'static str, u64)>,
    /// Settled records of the last seconds, the newest last.
    pub(super) rates: VecDeque<u64>,
    /// The newest results, the newest last.
    pub(super) results: VecDeque<Seen>,
    /// The newest dead letters, the newest last.
    pub(super) letters: VecDeque<SeenLetter>,
    /// What went wrong last and still stands.
    pub(super) trouble: Option<String>,
}

/// How the pieces are put together.
#[derive(Clone)]
pub(super) struct Setup {
    /// Where Kafka is.
    pub(super) broker: String,
    /// It is the embedded one.
    pub(super) embedded: bool,
    /// The topic that is read.
    pub(super) topic: String,
    /// The function.
    pub(super) url: String,
    /// The function is the sample one.
    pub(super) sample_function: bool,
    /// The topic that results go to.
    pub(super) results: String,
    /// The topic that dead letters go to.
    pub(super) dead_letters: String,
    /// Where metrics are.
    pub(super) metrics: Option<String>,
}

/// Whether records are fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Feeding {
    /// Nothing is: records come from elsewhere.
    Nothing,
    /// Yes.
    Going,
    /// The input came to its end.
    Ended,
    /// It stopped, and this is why.
    Failed(String),
}

/// A record that was seen in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The source record's id, where it says so, else its own.
    pub(super) id: String,
    /// The value, or `None` for a tombstone.
    pub(super) value: Option<String>,
}

/// A dead letter that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenLetter {
    /// Its own id.
    pub(super) id: String,
    /// The source record's id.
    pub(super) source: String,
    /// Where it was given up.
    pub(super) stage: String,
    /// Why.
    pub(super) reason: String,
    /// How many calls carried it.
    pub(super) attempts: String,
}

impl Model {
    /// Nothing has happened yet.
    pub(super) fn new(setup: Setup, feeding: Feeding) -> Model {
        Model {
            setup,
            elapsed: Duration::ZERO,
            first_result: None,
            fed: 0,
            feeding,
            task: View::default(),
            attempts: Vec::new(),
            rates: VecDeque::new(),
            results: VecDeque::new(),
            letters: VecDeque::new(),
            trouble: None,
        }
    }

    /// A result was seen.
    pub(super) fn result(&mut self, seen: Seen) {
        self.first_result.get_or_insert(self.elapsed);
        keep(&mut self.results, seen);
    }

    /// A dead letter was seen.
    pub(super) fn letter(&mut self, seen: SeenLetter) {
        keep(&mut self.letters, seen);
    }

    /// A second went by, in which so many records were settled.
    pub(super) fn second(&mut self, settled: u64) {
        if self.rates.len() == 30 {
            self.rates.pop_front();
        }
        self.rates.push_back(settled);
    }

    /// Records by what became of them, over all partitions.
    pub(super) fn totals(&self) -> [u64; 6] {
        let mut totals = [0; 6];
        for partition in &self.task.partitions {
            for (total, count) in totals.iter_mut().zip(partition.totals) {
                *total += count;
            }
        }
        totals
    }

    /// How many records have become one of these.
    pub(super) fn total(&self, disposition: Disposition) -> u64 {
        let place = Disposition::ALL
            .iter()
            .position(|d| *d == disposition)
            .unwrap_or_default();
        self.totals()[place]
    }

    fn unsettled(&self) -> usize {
        self.task.partitions.iter().map(|p| p.unsettled).sum()
    }
}

fn keep<T>(kept: &mut VecDeque<T>, new: T) {
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(new);
}

/// One line: pieces of text, each in its style. Control characters are shown, never sent to the terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line(Vec<(Style, String)>);

impl Line {
    fn of(style: Style, text: impl AsRef<str>) -> Line {
        Line::default().and(style, text)
    }

    fn and(mut self, style: Style, text: impl AsRef<str>) -> Line {
        self.0.push((style, visible(text.as_ref())));
        self
    }

    /// The line with escape sequences for its styles, cut to `width` characters.
    pub(super) fn styled(&self, width: usize) -> String {
        let mut line = String::new();
        for (style, text) in self.cut(width) {
            line.push_str(&format!("{style}{text}{style:#}"));
        }
        line
    }

    /// The line as text.
    pub(super) fn plain(&self, width: usize) -> String {
        self.cut(width).map(|(_, text)| text).collect()
    }

    fn cut(&self, width: usize) -> impl Iterator<Item = (Style, String)> {
        let mut room = width;
        self.0.iter().map_while(move |(style, text)| {
            if room == 0 {
                return None;
            }
            let length = text.chars().count();
            if length <= room {
                room -= length;
                return Some((*style, text.clone()));
            }
            let end = text.char_indices().nth(room - 1).map_or(text.len(), |(end, _)| end);
            room = 0;
            Some((*style, format!("{}…", &text[..end])))
        })
    }
}

fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

/// The whole screen: at most `height` lines.
pub(super) fn screen(model: &Model, height: usize) -> Vec<Line> {
    let mut lines = head(model);
    lines.push(Line::default());
    lines.extend(figures(model));
    lines.push(Line::default());
    lines.extend(partitions(&model.task.partitions));
    let mut foot = vec![Line::default()];
    foot.extend(next_steps(model));
    let letters = letters(model);
    let room = height.saturating_sub(lines.len() + foot.len() + letters.len() + 3);
    lines.push(Line::default());
    lines.push(section("LATEST RESULTS", &format!("in topic {}", model.setup.results)));
    lines.extend(results(model, room.max(3)));
    lines.push(Line::default());
    lines.extend(letters);
    lines.extend(foot);
    lines.truncate(height);
    lines
}

fn head(model: &Model) -> Vec<Line> {
    let setup = &model.setup;
    let broker = if setup.embedded { "embedded Kafka" } else { "Kafka" };
    let function = if setup.sample_function {
        "sample function"
    } else {
        "function"
    };
    let arrow = |line: Line| line.and(DIM, " → ");
    let mut journey = arrow(Line::of(NAME, &setup.topic)).and(PLAIN, format!("{function} {}", setup.url));
    journey = arrow(journey).and(NAME, &setup.results);
    vec![
        Line::of(BOLD, "fnbridge dev").and(
            DIM,
            format!("   {broker} at {}   {}", setup.broker, clock(model.elapsed)),
        ),
        journey,
    ]
}

fn figures(model: &Model) -> Vec<Line> {
    let rate = model.rates.back().copied().unwrap_or_default();
    let mut settled = Line::of(BOLD, format!("{rate:>6} records/s ")).and(GOOD, sparkline(&model.rates));
    for disposition in Disposition::ALL {
        let count = model.total(disposition);
        let (style, shown) = match disposition {
            Disposition::Delivered => (GOOD, true),
            Disposition::Dropped => (PLAIN, count > 0),
            Disposition::DeadLettered => (if count > 0 { BAD } else { PLAIN }, true),
            Disposition::Filtered | Disposition::Skipped | Disposition::Expired => (WARNING, count > 0),
        };
        if shown {
            settled = settled.and(style, format!("   {} {count}", disposition.name().replace('_', "-")));
        }
    }
    let task = &model.task;
    let mut calls = Line::of(BOLD, format!("{:>6} calls on the wire", task.calls_in_flight));
    for (outcome, count) in model.attempts.iter().filter(|(_, count)| *count > 0) {
        let style = if *outcome == "success" { GOOD } else { WARNING };
        calls = calls.and(style, format!("   {} {count}", outcome.replace('_', " ")));
    }
    let waiting = Line::of(BOLD, format!("{:>6} unsettled", model.unsettled())).and(PLAIN, fed(model));
    let mut lines = vec![settled, calls, waiting];
    lines.extend(standing(model));
    lines
}

fn fed(model: &Model) -> String {
    match &model.feeding {
        Feeding::Nothing => "   waiting for records from elsewhere".to_owned(),
        Feeding::Going => format!("   {} fed", model.fed),
        Feeding::Ended => format!("   {} fed: that is all of the input", model.fed),
        Feeding::Failed(_) => format!("   {} fed, then it stopped", model.fed),
    }
}

/// What stands in the way, if something does.
fn standing(model: &Model) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(failure) = model.task.breaker_reason.as_ref().filter(|_| model.task.breaker_open) {
        lines.push(Line::of(BAD, "the breaker is open: ").and(PLAIN, &failure.reason));
    }
    for (guard, ids) in &model.task.guards {
        let records = ids.join(", ");
        lines.push(Line::of(BAD, format!("the guard ({}) has tripped: ", guard.name())).and(PLAIN, records));
    }
    if let Feeding::Failed(reason) = &model.feeding {
        lines.push(Line::of(BAD, "feeding stopped: ").and(PLAIN, reason));
    }
    if let Some(trouble) = &model.trouble {
        lines.push(Line::of(WARNING, trouble));
    }
    lines
}

fn partitions(partitions: &[PartitionView]) -> Vec<Line> {
    if partitions.is_empty() {
        return vec![Line::of(DIM, "joining the group …")];
    }
    let title = format!(
        "{:<24}{:>10}{:>11}{:>9}{:>11}",
        "PARTITION", "position", "committed", "waiting", "in flight"
    );
    let mut lines = vec![Line::of(DIM, title)];
    let mut sorted: Vec<&PartitionView> = partitions.iter().collect();
    sorted.sort_by(|a, b| a.source.cmp(&b.source));
    for p in sorted.iter().take(PARTITIONS_SHOWN) {
        let name = p.source.to_string();
        let numbers = format!(
            "{:>10}{:>11}{:>9}{:>11}",
            p.position, p.committed, p.waiting, p.in_flight
        );
        let state = match (p.draining, p.paused) {
            (true, _) => "  draining",
            (false, true) => "  paused",
            (false, false) => "",
        };
        lines.push(
            Line::of(NAME, format!("{name:<24}"))
                .and(PLAIN, numbers)
                .and(WARNING, state),
        );
    }
    if partitions.len() > PARTITIONS_SHOWN {
        lines.push(Line::of(
            DIM,
            format!("and {} more", partitions.len() - PARTITIONS_SHOWN),
        ));
    }
    lines
}

fn results(model: &Model, room: usize) -> Vec<Line> {
    if model.results.is_empty() {
        return vec![Line::of(DIM, "  none yet")];
    }
    let newest = model.results.len().saturating_sub(room);
    model.results.iter().skip(newest).map(result_line).collect()
}

/// One result as a line.
pub(super) fn result_line(seen: &Seen) -> Line {
    let line = Line::of(DIM, format!("  {:<18} ", seen.id));
    match &seen.value {
        Some(value) => line.and(PLAIN, value),
        None => line.and(DIM, "(tombstone)"),
    }
}

fn letters(model: &Model) -> Vec<Line> {
    let mut lines = vec![section(
        "DEAD LETTERS",
        &format!("in topic {}", model.setup.dead_letters),
    )];
    if model.letters.is_empty() {
        lines.push(Line::of(DIM, "  none yet"));
    }
    lines.extend(model.letters.iter().rev().take(4).map(letter_line));
    lines
}

/// One dead letter as a line.
pub(super) fn letter_line(seen: &SeenLetter) -> Line {
    let calls = match seen.attempts.as_str() {
        "" | "0" => "no call".to_owned(),
        "1" => "1 call".to_owned(),
        n => format!("{n} calls"),
    };
    Line::of(BAD, format!("  {:<18} ", seen.source))
        .and(DIM, format!("{}, {calls}: ", seen.stage))
        .and(PLAIN, &seen.reason)
}

fn section(title: &str, where_: &str) -> Line {
    Line::of(BOLD, title).and(DIM, format!("   {where_}"))
}

/// What to try next.
pub(super) fn next_steps(model: &Model) -> Vec<Line> {
    let Setup {
        broker,
        topic,
        results,
        dead_letters,
        ..
    } = &model.setup;
    let step = |what: &str, command: String| Line::of(DIM, format!("  {what:<22}")).and(PLAIN, command);
    let mut lines = vec![Line::of(BOLD, "TRY")];
    let record = r#"{"origin":"JFK","destination":"SFO","delay":7,"distance":2586}"#;
    lines.push(step(
        "send a record",
        format!("echo '{record}' | kcat -b {broker} -P -t {topic}"),
    ));
    lines.push(step("see results", format!("kcat -b {broker} -C -t {results} -o -5")));
    lines.push(step(
        "see a dead letter",
        format!("kcat -b {broker} -C -t {dead_letters} -o beginning -c 1 -f '%h\\n%s\\n'"),
    ));
    if let Some(metrics) = &model.setup.metrics {
        lines.push(step("see metrics", format!("curl {metrics}")));
    }
    if model.setup.sample_function {
        lines.push(step(
            "attach your function",
            "fnbridge dev --url http://localhost:3000/".to_owned(),
        ));
    }
    lines.push(step("end", "Ctrl-C: what is on the wire is finished first".to_owned()));
    lines
}

/// One line a second, where stdout is no terminal.
pub(super) fn second_line(model: &Model) -> Line {
    let rate = model.rates.back().copied().unwrap_or_default();
    let mut text = format!("{}  {rate} records/s", clock(model.elapsed));
    for (disposition, count) in Disposition::ALL.iter().zip(model.totals()) {
        if count > 0 {
            text.push_str(&format!("  {} {count}", disposition.name().replace('_', "-")));
        }
    }
    text.push_str(&format!(
        "  unsettled {}  on the wire {}",
        model.unsettled(),
        model.task.calls_in_flight
    ));
    let mut line = Line::of(PLAIN, text);
    for standing in standing(model) {
        line.0.push((PLAIN, "  ".to_owned()));
        line.0.extend(standing.0);
    }
    line
}

/// What there was, after the end.
pub(super) fn summary(model: &Model, drained: bool) -> Vec<Line> {
    let mut totals = String::new();
    for (disposition, count) in Disposition::ALL
        .iter()
        .zip(model.totals())
        .filter(|(_, count)| *count > 0)
    {
        totals.push_str(&format!(", {count} {}", disposition.name().replace('_', "-")));
    }
    let totals = if totals.is_empty() {
        ", no record settled".to_owned()
    } else {
        totals
    };
    let calls: u64 = model.attempts.iter().map(|(_, count)| count).sum();
    let end = if drained {
        "Drained"
    } else {
        "Ended before the drain was done"
    };
    let mut lines = vec![Line::of(
        PLAIN,
        format!("{end} after {}{totals}; {calls} calls.", clock(model.elapsed)),
    )];
    if let Some(first) = model.first_result {
        lines.push(Line::of(
            DIM,
            format!("The first result came after {:.1} s.", first.as_secs_f64()),
        ));
    }
    if !model.setup.embedded {
        let topics = format!("{} and {}", model.setup.results, model.setup.dead_letters);
        lines.push(Line::of(
            DIM,
            format!(
                "What was written stays in the topics {topics} at {}.",
                model.setup.broker
            ),
        ));
    } else {
        lines.push(Line::of(
            DIM,
            "The embedded broker is gone with all that was in it; no file is left behind.",
        ));
    }
    lines
}

fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

fn sparkline(rates: &VecDeque<u64>) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = rates.iter().copied().max().unwrap_or_default().max(1);
    (rates.iter())
        .map(|rate| BARS[usize::try_from(rate * 7 / highest).unwrap_or(7).min(7)])
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fnbridge_delivery::answer::Failure;
    use fnbridge_delivery::event::Assignment;
    use fnbridge_delivery::record::TopicPartition;

    use super::*;

    fn model() -> Model {
        let setup = Setup {
            broker: "127.0.0.1:9092".to_owned(),
            embedded: true,
            topic: "flights".to_owned(),
            url: "http://127.0.0.1:3456/".to_owned(),
            sample_function: true,
            results: "flights-results".to_owned(),
            dead_letters: "flights.dead-letter".to_owned(),
            metrics: Some("http://127.0.0.1:8470/metrics".to_owned()),
        };
        Model::new(setup, Feeding::Going)
    }

    fn partition(number: i32) -> PartitionView {
        PartitionView {
            assignment: Assignment(1),
            source: TopicPartition {
                topic: Arc::from("flights"),
                partition: number,
            },
            committed: 40,
            position: 44,
            waiting: 3,
            in_flight: 1,
            unsettled: 4,
            held_bytes: 0,
            oldest_unsettled: None,
            oldest_unsettled_ms: None,
            paused: false,
            draining: false,
            totals: [30, 8, 0, 2, 0, 0],
        }
    }

    fn text(lines: &[Line]) -> String {
        lines.iter().map(|line| line.plain(200) + "\n").collect()
    }

    #[test]
    fn the_screen_tells_throughput_partitions_results_letters_and_what_to_try() {
        let mut model = model();
        model.task.partitions = vec![partition(1), partition(0)];
        model.task.calls_in_flight = 2;
        model.attempts = vec![("success", 12), ("failed", 5), ("busy", 0)];
        model.second(97);
        model.result(Seen {
            id: "flights/1/43".to_owned(),
            value: Some(r#"{"route":"EWR-IAH"}"#.to_owned()),
        });
        model.letter(SeenLetter {
            id: "flights.dead-letter/0/0".to_owned(),
            source: "flights/1/7".to_owned(),
            stage: "function".to_owned(),
            reason: "division by zero".to_owned(),
            attempts: "5".to_owned(),
        });
        let shown = text(&screen(&model, 50));
        for expected in [
            "flights → sample function http://127.0.0.1:3456/ → flights-results",
            "97 records/s",
            "delivered 60   dropped 16   dead-lettered 4",
            "2 calls on the wire   success 12   failed 5\n",
            "flights/0                       44         40        3          1\nflights/1",
            r#"flights/1/43       {"route":"EWR-IAH"}"#,
            "flights/1/7        function, 5 calls: division by zero",
            "kcat -b 127.0.0.1:9092 -C -t flights-results",
            "kcat -b 127.0.0.1:9092 -P -t flights",
            "curl http://127.0.0.1:8470/metrics",
            "fnbridge dev --url",
        ] {
            assert!(shown.contains(expected), "{expected:?} is missing in\n{shown}");
        }
    }

    #[test]
    fn an_open_breaker_says_which_answer_opened_it() {
        let mut model = model();
        model.task.breaker_open = true;
        model.task.breaker_reason = Some(Failure::of("answered 401: expected 2xx"));
        assert!(text(&screen(&model, 50)).contains("the breaker is open: answered 401"));
        assert!(second_line(&model).plain(200).contains("answered 401"));
    }

    #[test]
    fn a_value_can_not_steer_the_terminal() {
        let seen = Seen {
            id: "t/0/0".to_owned(),
            value: Some("\x1b[2Jgone\u{9b}31m\r\n".to_owned()),
        };
        let line = result_line(&seen).styled(80);
        assert!(line.contains("·[2Jgone·31m··"), "{line:?}");
    }

    #[test]
    fn lines_are_cut_to_the_width_and_the_screen_to_the_height() {
        let mut model = model();
        for n in 0..100 {
            model.result(Seen {
                id: format!("flights/0/{n}"),
                value: Some("ü".repeat(300)),
            });
        }
        for height in [5, 24, 50] {
            let lines = screen(&model, height);
            assert!(lines.len() <= height);
            assert!(lines.iter().all(|line| line.plain(60).chars().count() <= 60));
        }
        let full = screen(&model, 50);
        assert_eq!(full.len(), 50);
        assert!(text(&full).contains("flights/0/99"));
    }

    #[test]
    fn the_summary_counts_what_became_of_the_records() {
        let mut model = model();
        model.elapsed = Duration::from_secs(75);
        model.task.partitions = vec![partition(0)];
        model.attempts = vec![("success", 12), ("failed", 5)];
        let shown = text(&summary(&model, true));
        assert!(
            shown.starts_with("Drained after 01:15, 30 delivered, 8 dropped, 2 dead-lettered; 17 calls."),
            "{shown}"
        );
        assert!(text(&summary(&model, false)).starts_with("Ended before the drain was done"));
    }
}
