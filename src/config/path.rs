//! Paths in a document: `sinks[0].kafka.topic`.

use std::fmt;

use super::yaml::{Data, Node, Place};

/// From the document's root to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    pub(super) fn root() -> Path {
        Path::default()
    }

    /// Keys with dots between them; none of them may hold a dot itself.
    pub(super) fn of(keys: &str) -> Path {
        Path(keys.split('.').map(|key| Step::Key(key.to_owned())).collect())
    }

    pub(super) fn key(&self, key: &str) -> Path {
        self.and(Step::Key(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Path {
        self.and(Step::Index(index))
    }

    fn and(&self, step: Step) -> Path {
        let mut steps = self.0.clone();
        steps.push(step);
        Path(steps)
    }

    /// One of both stands inside the other, or they are the same.
    pub(super) fn is_related_to(&self, other: &Path) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }

    /// The value there, if there is one.
    pub(super) fn find<'n>(&self, root: &'n Node) -> Option<&'n Node> {
        self.0.iter().try_fold(root, |node, step| match step {
            Step::Key(key) => node.get(key).map(|entry| &entry.node),
            Step::Index(index) => match &node.data {
                Data::List(nodes) => nodes.get(*index),
                Data::Scalar(_) | Data::Map(_) => None,
            },
        })
    }

    /// The value's place, or that of the innermost value around it.
    pub(super) fn place(&self, root: &Node) -> Place {
        (0..=self.0.len())
            .rev()
            .find_map(|length| Path(self.0[..length].to_vec()).find(root))
            .map_or(root.at, |node| node.at)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if is_plain(key) && n == 0 => f.write_str(key)?,
                Step::Key(key) if is_plain(key) => write!(f, ".{key}")?,
                Step::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::read;

    #[test]
    fn a_path_is_shown_as_it_is_written_and_keys_with_dots_in_quotes() {
        let path = Path::of("clusters.default.properties").key("linger.ms");
        assert_eq!(path.to_string(), r#"clusters.default.properties["linger.ms"]"#);
        assert_eq!(Path::of("sinks").index(0).key("kafka").to_string(), "sinks[0].kafka");
    }

    #[test]
    fn what_is_not_there_is_placed_at_what_is_around_it() {
        let root = read("a: 1\nsource:\n  cluster: x\n").documents.remove(0);
        assert_eq!(Path::of("source.topics").place(&root), Place { line: 3, column: 3 });
        assert_eq!(Path::of("source.cluster").place(&root), Place { line: 3, column: 12 });
    }
}
