//! Data on stdout: for people, or as the API said it.

use std::io::Write;

use clap::ValueEnum;
use serde_json::Value;

use super::remote::Failure;

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// As the API answers.
    Json,
    /// The same, as YAML.
    Yaml,
}

impl Output {
    /// Prints an answer; `table` is what people see of it, with colours where stdout is a terminal.
    pub(super) fn print(self, raw: &Value, table: impl FnOnce() -> String) -> Result<(), Failure> {
        let text = match self {
            Output::Table => harmless(&table()),
            Output::Json => format!("{raw:#}\n"),
            Output::Yaml => serde_saphyr::to_string(raw).map_err(|error| Failure::Said(format!("no YAML: {error}")))?,
        };
        let mut out = anstream::stdout().lock();
        // Whoever reads stdout may have seen enough.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        Ok(())
    }
}

/// What others wrote can't steer the terminal: of control characters, only line ends, tabs and our own colours are left.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\n' | '\t' => out.push(letter),
            '\u{1b}' => match colour(rest.as_str()) {
                Some(length) => {
                    out.push(letter);
                    out.extend(rest.by_ref().take(length));
                }
                None => out.push('·'),
            },
            letter if letter.is_control() => out.push('·'),
            letter => out.push(letter),
        }
    }
    out
}

/// How long the rest of a sequence is that sets a colour.
fn colour(rest: &str) -> Option<usize> {
    let numbers = rest.strip_prefix('[')?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers[end..].starts_with('m').then_some(end + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_others_wrote_can_not_steer_the_terminal() {
        let printed = harmless("\u{1b}[31mred\u{1b}[0m\t\u{1b}]0;title\u{7}\u{1b}[2J\r\u{9b}31m\u{1b}[\n");
        assert_eq!(printed, "\u{1b}[31mred\u{1b}[0m\t·]0;title··[2J··31m·[\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_loses_anything_but_controls(text in "[\u{1b}\\[0-9;mJa\n\r\u{9b}]{0,30}") {
            let printed = harmless(&text);
            prop_assert_eq!(printed.chars().count(), text.chars().count());
            prop_assert_eq!(harmless(&printed), printed);
        }
    }
}
