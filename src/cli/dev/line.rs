//! Lines of text in styles.

use anstyle::Style;

/// One line: pieces of text, each in its style. Control characters are shown, never sent to the terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line(Vec<(Style, String)>);

impl Line {
    /// Text in one style.
    pub(super) fn of(style: Style, text: impl AsRef<str>) -> Line {
        Line::default().and(style, text)
    }

    /// The line, and more text behind it.
    pub(super) fn and(mut self, style: Style, text: impl AsRef<str>) -> Line {
        self.0.push((style, visible(text.as_ref())));
        self
    }

    /// The line, and another behind it.
    pub(super) fn join(mut self, other: Line) -> Line {
        self.0.extend(other.0);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_can_not_steer_the_terminal() {
        let line = Line::of(Style::new(), "\u{1b}[2Jgone\u{9b}31m\r\n").styled(80);
        assert_eq!(line, "·[2Jgone·31m··");
    }

    #[test]
    fn a_line_is_cut_to_the_width_and_says_so() {
        let line = Line::of(Style::new(), "über")
            .and(Style::new(), "all")
            .and(Style::new(), "em");
        for (width, expected) in [(9, "überallem"), (8, "überall…"), (4, "über"), (3, "üb…"), (0, "")] {
            assert_eq!(line.plain(width), expected);
        }
    }
}
