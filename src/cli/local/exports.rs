//! What a source file is, by its text.

use regex::Regex;

/// The languages whose files may hold a handler and no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    JavaScript,
}

/// Whether a file serves HTTP by itself: it then has to ask for its port.
pub(super) fn reads_port(text: &str) -> bool {
    found(r"\bPORT\b", text)
}

/// Whether a file has a function of this name for others to call.
pub(super) fn exports(language: Language, name: &str, text: &str) -> bool {
    let ways = match language {
        Language::Python => vec![
            format!(r"(?m)^(?:async\s+)?def\s+{name}\s*\("),
            format!(r"(?m)^{name}\s*="),
            format!(r"(?m)^from\s+\S+\s+import\s.*\b{name}\b"),
        ],
        Language::JavaScript => vec![
            format!(r"(?m)^\s*export\s+(?:async\s+)?(?:function|const|let|var)\s+{name}\b"),
            format!(r"(?m)^\s*export\s*\{{[^}}]*\b{name}\b"),
            format!(r"\bexports\.{name}\s*="),
            format!(r"\bmodule\.exports\s*=\s*\{{[^}}]*\b{name}\b"),
        ],
    };
    ways.iter().any(|way| found(way, text))
}

fn found(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_found_however_it_is_exported() {
        use Language::{JavaScript, Python};
        let table = [
            (Python, "import json\n\ndef verdict(record):\n    pass\n", true),
            (Python, "verdict = judge\n", true),
            (Python, "from rules import clean, verdict\n", true),
            (
                Python,
                "class Rules:\n    def verdict(self, record):\n        pass\n",
                false,
            ),
            (Python, "def verdicts(records):\n    pass\n", false),
            (JavaScript, "export function verdict(record) {}\n", true),
            (JavaScript, "export const verdict = (record) => ({});\n", true),
            (JavaScript, "export async function verdict(record) {}\n", true),
            (JavaScript, "const a = 1;\nexport { a, verdict };\n", true),
            (JavaScript, "exports.verdict = async () => {};\n", true),
            (JavaScript, "module.exports = { verdict };\n", true),
            (JavaScript, "function verdict() {}\n", false),
            (JavaScript, "import { verdict } from './orders.js';\n", false),
        ];
        for (language, text, expected) in table {
            assert_eq!(exports(language, "verdict", text), expected, "{text}");
        }
    }

    #[test]
    fn the_examples_are_told_apart() {
        let orders = include_str!("../../../functions/orders/python/orders.py");
        assert!(exports(Language::Python, "verdict", orders) && !reads_port(orders));
        let server = include_str!("../../../functions/orders/javascript/server.js");
        assert!(reads_port(server));
        let lambda = include_str!("../../../functions/orders/aws_lambda/handler.py");
        assert!(exports(Language::Python, "handler", lambda) && !reads_port(lambda));
    }
}
