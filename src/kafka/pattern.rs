//! Which topics a pattern names. Patterns are ours to resolve: the whole name counts, and the client only ever
//! subscribes by name.

use regex::Regex;

/// A pattern over whole topic names, less the topics that are never read.
#[derive(Clone, Debug)]
pub struct TopicPattern {
    whole: Regex,
    text: String,
}

impl TopicPattern {
    /// Takes a regular expression; it has to match the whole name, whether it says `^…$` or not.
    ///
    /// # Errors
    /// What is wrong with the expression.
    pub fn new(text: &str) -> Result<TopicPattern, String> {
        // Compiled alone first, so that `a)(b` is not made valid by what is put around it.
        let alone = Regex::new(text);
        let whole = alone.and_then(|_| Regex::new(&format!("^(?:{text})$")));
        match whole {
            Ok(whole) => Ok(TopicPattern {
                whole,
                text: text.to_owned(),
            }),
            Err(e) => Err(e.to_string()),
        }
    }

    /// The expression as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The topics of a cluster that the pattern names, sorted. Internal topics are never among them, nor are `never`.
    pub fn resolve<'a>(&self, topics: impl IntoIterator<Item = &'a str>, never: &[String]) -> Vec<String> {
        let mut named: Vec<String> = (topics.into_iter())
            .filter(|t| !t.starts_with("__") && !never.iter().any(|n| n == t))
            .filter(|t| self.whole.is_match(t))
            .map(str::to_owned)
            .collect();
        named.sort_unstable();
        named.dedup();
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: [&str; 6] = [
        "orders.eu",
        "orders.us",
        "reorders.eu",
        "__consumer_offsets",
        "orders.eu.dead-letter",
        "orders",
    ];

    fn resolve(pattern: &str, never: &[&str]) -> Vec<String> {
        let never: Vec<String> = never.iter().map(|n| n.to_string()).collect();
        TopicPattern::new(pattern).expect("a pattern").resolve(CLUSTER, &never)
    }

    #[test]
    fn a_pattern_matches_whole_names_only() {
        assert_eq!(resolve("orders", &[]), ["orders"]);
        assert_eq!(resolve(r"orders\.\w+", &[]), ["orders.eu", "orders.us"]);
        assert_eq!(resolve("a|orders", &[]), ["orders"]);
    }

    #[test]
    fn internal_topics_are_never_read() {
        assert!(!resolve(".*", &[]).iter().any(|t| t.starts_with("__")));
        assert_eq!(resolve("__consumer_offsets", &[]), Vec::<String>::new());
    }

    #[test]
    fn topics_that_are_never_read_are_left_out() {
        assert_eq!(
            resolve(r"^orders\..*", &["orders.eu.dead-letter"]),
            ["orders.eu", "orders.us"]
        );
    }

    #[test]
    fn an_expression_that_only_the_anchors_would_close_is_refused() {
        assert!(TopicPattern::new("a)|(b").is_err());
    }
}
