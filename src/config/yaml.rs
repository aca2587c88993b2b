//! YAML as a tree that remembers where each value stands. JSON is YAML too.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use serde_json::{Number, Value};

/// A text larger than this is not read.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// Aliases count as often as they are used, so that a few lines can't become a million values.
const MAX_NODES: usize = 20_000;
const MAX_DEPTH: usize = 48;

/// A place in a text: both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) const START: Place = Place { line: 1, column: 1 };

    fn of(marker: &Marker) -> Place {
        Place {
            line: marker.line().max(1),
            column: marker.col() + 1,
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) data: Data,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Data {
    /// Null, true or false, a number, text.
    Scalar(Value),
    List(Vec<Node>),
    /// In the text's order, no key twice.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: Place,
    pub(super) node: Node,
}

impl Node {
    /// A document that says nothing.
    pub(super) fn empty() -> Node {
        Node {
            at: Place::START,
            data: Data::Map(Vec::new()),
        }
    }

    /// The value under a key, where this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.data {
            Data::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Data::Scalar(_) | Data::List(_) => None,
        }
    }

    /// The value without places.
    pub(super) fn to_value(&self) -> Value {
        match &self.data {
            Data::Scalar(value) => value.clone(),
            Data::List(nodes) => nodes.iter().map(Node::to_value).collect(),
            Data::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.node.to_value()));
                Value::Object(pairs.collect())
            }
        }
    }

    fn count(&self) -> usize {
        1 + match &self.data {
            Data::Scalar(_) => 0,
            Data::List(nodes) => nodes.iter().map(Node::count).sum(),
            Data::Map(entries) => entries.iter().map(|entry| entry.node.count()).sum(),
        }
    }
}

/// Something that no configuration may hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct YamlProblem {
    pub(super) at: Place,
    pub(super) what: String,
}

/// What a text holds.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Its documents, without those that hold nothing; up to the first error in the syntax.
    pub(super) documents: Vec<Node>,
    pub(super) problems: Vec<YamlProblem>,
}

/// Reads a text that may hold several documents.
pub(super) fn read(text: &str) -> Stream {
    let mut reader = Reader::default();
    if text.len() > MAX_BYTES {
        let what = format!("the text has {} bytes, expected at most {MAX_BYTES}", text.len());
        return Stream {
            documents: Vec::new(),
            problems: vec![YamlProblem { at: Place::START, what }],
        };
    }
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => reader.take(event, Place::of(&span.start)),
            Err(error) => Err(YamlProblem {
                at: Place::of(error.marker()),
                what: format!("this is not YAML: {}", error.info()),
            }),
        };
        if let Err(problem) = step {
            reader.stream.problems.push(problem);
            break;
        }
    }
    reader.stream
}

#[derive(Default)]
struct Reader {
    stream: Stream,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

/// A list or mapping that has not ended.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<(String, Place)>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, at: Place) -> Result<(), YamlProblem> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(problem(at, "this alias stands within what it names"));
                };
                self.nodes = count(self.nodes + node.count(), at)?;
                self.put(node.clone(), 0)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.nodes = count(self.nodes + 1, at)?;
                let value = self.scalar(text, style, tag.as_deref(), at);
                let data = Data::Scalar(value);
                self.put(Node { at, data }, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.open(Data::List(Vec::new()), at, anchor, tag.as_deref()),
            Event::MappingStart(anchor, tag) => self.open(Data::Map(Vec::new()), at, anchor, tag.as_deref()),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.put(open.node, open.anchor),
                None => Err(problem(at, "this ends nothing")),
            },
        }
    }

    fn open(&mut self, data: Data, at: Place, anchor: usize, tag: Option<&Tag>) -> Result<(), YamlProblem> {
        if self.open.len() >= MAX_DEPTH {
            return Err(problem(
                at,
                &format!("more than {MAX_DEPTH} lists and mappings inside each other"),
            ));
        }
        self.nodes = count(self.nodes + 1, at)?;
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.tag_is_unknown(tag, at);
        }
        self.open.push(Open {
            node: Node { at, data },
            anchor,
            key: None,
        });
        Ok(())
    }

    /// Puts a whole value where it belongs: a document, an element, a key or what a key stands for.
    fn put(&mut self, node: Node, anchor: usize) -> Result<(), YamlProblem> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            if !matches!(node.data, Data::Scalar(Value::Null)) {
                self.stream.documents.push(node);
            }
            return Ok(());
        };
        match (&mut open.node.data, open.key.take()) {
            (Data::List(nodes), _) => nodes.push(node),
            (Data::Map(entries), Some((key, key_at))) => match entries.iter().find(|entry| entry.key == key) {
                None => entries.push(Entry { key, key_at, node }),
                Some(first) => {
                    let what = format!(
                        "{key} stands here a second time; the first is in line {}",
                        first.key_at.line
                    );
                    self.stream.problems.push(problem(key_at, &what));
                }
            },
            (Data::Map(_), None) => open.key = Some((key_of(&node)?, node.at)),
            (Data::Scalar(_), _) => {}
        }
        Ok(())
    }

    fn scalar(&mut self, text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>, at: Place) -> Value {
        match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Value::String(text.into_owned()),
            Some(tag) if tag.is_yaml_core_schema() => resolve(&text),
            Some(tag) => {
                self.tag_is_unknown(tag, at);
                Value::String(text.into_owned())
            }
            None if style == ScalarStyle::Plain => resolve(&text),
            None => Value::String(text.into_owned()),
        }
    }

    fn tag_is_unknown(&mut self, tag: &Tag, at: Place) {
        let what = format!(
            "found the tag {}{}, expected a value without a tag",
            tag.handle, tag.suffix
        );
        self.stream.problems.push(problem(at, &what));
    }
}

fn count(nodes: usize, at: Place) -> Result<usize, YamlProblem> {
    if nodes <= MAX_NODES {
        return Ok(nodes);
    }
    let what = format!("more than {MAX_NODES} values, aliases counted as often as they are used");
    Err(problem(at, &what))
}

fn problem(at: Place, what: &str) -> YamlProblem {
    YamlProblem {
        at,
        what: what.to_owned(),
    }
}

/// Keys are text: `409` is the key `"409"`.
fn key_of(node: &Node) -> Result<String, YamlProblem> {
    match &node.data {
        Data::Scalar(Value::String(text)) => Ok(text.clone()),
        Data::Scalar(other) => Ok(other.to_string()),
        Data::List(_) => Err(problem(node.at, "found a list as a key, expected text")),
        Data::Map(_) => Err(problem(node.at, "found a mapping as a key, expected text")),
    }
}

/// A scalar without quotes, as YAML 1.2's core schema has it.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let number = whole_number(text).or_else(|| fraction(text));
    number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn whole_number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().map(Number::from);
    }
    let number = text.parse::<i64>().map(Number::from);
    number.or_else(|_| text.parse::<u64>().map(Number::from)).ok()
}

fn fraction(text: &str) -> Option<Number> {
    let numeric = |c: char| c.is_ascii_digit() || ['+', '-', '.', 'e', 'E'].contains(&c);
    if !text.chars().all(numeric) || !text.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Vec<Value> {
        let stream = read(text);
        assert_eq!(stream.problems, []);
        stream.documents.iter().map(Node::to_value).collect()
    }

    fn only_problem(text: &str) -> (usize, usize, String) {
        let mut problems = read(text).problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        let problem = problems.remove(0);
        (problem.at.line, problem.at.column, problem.what)
    }

    #[test]
    fn json_is_yaml_too() {
        let text = r#"{"a": [1, -2.5, true, null, "x"], "b": {"c": "1"}}"#;
        assert_eq!(
            values(text),
            [json!({"a": [1, -2.5, true, null, "x"], "b": {"c": "1"}})]
        );
    }

    #[test]
    fn what_has_no_quotes_is_a_number_only_where_it_looks_like_one() {
        let text = "[200ms, 1MiB, 1e3, 0x10, ~, '5', 2026-11-01T00:00:00Z, .inf, 1.2.3, '']";
        let expected = json!([
            "200ms",
            "1MiB",
            1000.0,
            16,
            null,
            "5",
            "2026-11-01T00:00:00Z",
            ".inf",
            "1.2.3",
            ""
        ]);
        assert_eq!(values(text), [expected]);
    }

    #[test]
    fn every_value_knows_its_line_and_column() {
        let stream = read("name: a\nsource:\n  topics: [x, y]\n");
        let source = &stream.documents[0].get("source").unwrap();
        assert_eq!(source.key_at, Place { line: 2, column: 1 });
        let topics = source.node.get("topics").unwrap();
        assert_eq!(topics.key_at, Place { line: 3, column: 3 });
        let Data::List(names) = &topics.node.data else { panic!() };
        assert_eq!(names[1].at, Place { line: 3, column: 15 });
    }

    #[test]
    fn a_text_may_hold_several_documents_and_empty_ones_do_not_count() {
        assert_eq!(
            values("---\na: 1\n---\nb: 2\n---\n"),
            [json!({"a": 1}), json!({"b": 2})]
        );
        assert!(values("# nothing\n").is_empty());
    }

    #[test]
    fn a_key_that_stands_twice_is_a_problem() {
        let (line, column, what) = only_problem("a: 1\nb: 2\na: 3\n");
        assert_eq!((line, column), (3, 1));
        assert_eq!(what, "a stands here a second time; the first is in line 1");
    }

    #[test]
    fn broken_syntax_is_told_with_its_place() {
        let (line, _, what) = only_problem("a: 1\nb: [1, 2\nc: 3\n");
        assert!(line >= 2 && what.starts_with("this is not YAML: "), "{line} {what}");
    }

    #[test]
    fn an_alias_stands_for_its_value_and_bombs_are_stopped() {
        assert_eq!(values("a: &x {k: 1}\nb: *x\n"), [json!({"a": {"k": 1}, "b": {"k": 1}})]);
        let mut bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        for (name, last) in ('b'..='l').zip('a'..) {
            bomb += &format!("{name}: &{name} [{}]\n", vec![format!("*{last}"); 10].join(","));
        }
        assert!(only_problem(&bomb).2.contains("aliases counted"));
        let deep = "[".repeat(200);
        assert!(only_problem(&deep).2.contains("inside each other"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_panics(text in ".{0,200}") {
            read(&text);
        }

        #[test]
        fn no_text_that_resembles_yaml_panics(text in "[-a: \\[\\]{}\"'\n\t&*!|>?#%,0\r~]{0,80}") {
            read(&text);
        }
    }
}
