//! Which lines of stderr tell of a crash.

use regex::Regex;

/// So many lines are shown.
const SHOWN: usize = 12;

/// What begins a language's last words.
const BEGINNINGS: &str = r"^(Traceback \(most recent call last\)|panic: |fatal error: |thread '.*' panicked at|Exception in thread |Uncaught |(\w+\.)*[A-Z]\w*(Error|Exception)\b)";

/// The traceback that stderr ends with, else its last lines; what is too long loses its middle.
pub(super) fn last_words(stderr: &[String]) -> Vec<String> {
    let said: Vec<&String> = stderr.iter().filter(|line| !line.trim().is_empty()).collect();
    match beginning(&said) {
        Some(start) => without_the_middle(&said[start..]),
        None => said[said.len().saturating_sub(SHOWN)..]
            .iter()
            .map(|line| (*line).clone())
            .collect(),
    }
}

/// Where the last traceback begins. A cause is named first, and an error's name ends Python's: those before count.
fn beginning(said: &[&String]) -> Option<usize> {
    let beginnings = Regex::new(BEGINNINGS).ok()?;
    let python = said.iter().rposition(|line| line.starts_with("Traceback "));
    python.or_else(|| said.iter().position(|line| beginnings.is_match(line)))
}

fn without_the_middle(lines: &[&String]) -> Vec<String> {
    if lines.len() <= SHOWN {
        return lines.iter().map(|line| (*line).clone()).collect();
    }
    let half = SHOWN / 2;
    let left_out = lines.len() - 2 * half;
    let mut shown: Vec<String> = lines[..half].iter().map(|line| (*line).clone()).collect();
    shown.push(format!("… {left_out} more lines"));
    shown.extend(lines[lines.len() - half..].iter().map(|line| (*line).clone()));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        last_words(&lines)
    }

    #[test]
    fn a_traceback_of_python_is_shown_from_its_beginning() {
        let said = "starts\nTraceback (most recent call last):\n  old\nKeyError: 1\n\
                    served\nTraceback (most recent call last):\n  File \"orders.py\", line 3, in verdict\n\n    1 / 0\nZeroDivisionError: division by zero";
        assert_eq!(
            words(said),
            [
                "Traceback (most recent call last):",
                "  File \"orders.py\", line 3, in verdict",
                "    1 / 0",
                "ZeroDivisionError: division by zero"
            ]
        );
    }

    #[test]
    fn so_are_those_of_other_languages() {
        for (text, first) in [
            ("log\npanic: no\n\ngoroutine 1 [running]:\nmain.main()", "panic: no"),
            (
                "file:///f.mjs:3\n  throw new TypeError(1)\n\nTypeError: 1\n    at f",
                "TypeError: 1",
            ),
            (
                "x\nException in thread \"main\" java.lang.Error\n\tat A",
                "Exception in thread \"main\" java.lang.Error",
            ),
            (
                "java.lang.IllegalStateException: no\n\tat A",
                "java.lang.IllegalStateException: no",
            ),
            (
                "thread 'main' (7) panicked at src/main.rs:2:5:\nno",
                "thread 'main' (7) panicked at src/main.rs:2:5:",
            ),
        ] {
            assert_eq!(words(text)[0], first);
        }
    }

    #[test]
    fn without_one_the_last_lines_are_shown() {
        let many: String = (0..40).map(|n| format!("line {n}\n")).collect();
        let shown = words(&many);
        assert_eq!((shown.len(), shown[0].as_str()), (SHOWN, "line 28"));
        assert!(words("").is_empty());
    }

    #[test]
    fn a_deep_stack_keeps_its_first_and_last_lines() {
        let deep: String = (0..100).map(|n| format!("  frame {n}\n")).collect();
        let shown = words(&format!(
            "Traceback (most recent call last):\n{deep}RecursionError: too deep"
        ));
        assert_eq!(shown.len(), SHOWN + 1);
        assert_eq!(shown[6], "… 90 more lines");
        assert_eq!(shown[12], "RecursionError: too deep");
    }
}
