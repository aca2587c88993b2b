//! Where the view goes: repainted on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};

use super::line::Line;

/// Without a size, a terminal is taken to be this wide and high.
const USUAL_SIZE: (usize, usize) = (100, 40);

/// Plain lines are not cut, but for this.
const PLAIN_WIDTH: usize = 1000;

const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

/// Where the view goes.
pub(super) enum Screen {
    /// A terminal, given back as it was when this is dropped.
    Live(Live),
    /// A file or pipe.
    Plain,
}

/// A terminal's second page.
pub(super) struct Live(());

impl Screen {
    /// Prints what is to be read first, then opens the second page of the terminal that stdout is.
    ///
    /// # Errors
    /// Where stdout is gone.
    pub(super) fn open(first: &[Line]) -> std::io::Result<Screen> {
        let live = Screen::is_live();
        for line in first {
            write(&format!("{}\n", shown(line, live, PLAIN_WIDTH)))?;
        }
        if !live {
            return Ok(Screen::Plain);
        }
        write(ENTER)?;
        Ok(Screen::Live(Live(())))
    }

    /// Whether stdout is a terminal that can be repainted.
    pub(super) fn is_live() -> bool {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        std::io::stdout().is_terminal() && !dumb
    }

    /// How many lines fit.
    pub(super) fn height(&self) -> usize {
        size().1
    }

    /// Paints the whole view over the one before. Nothing, where stdout is no terminal.
    ///
    /// # Errors
    /// Where stdout is gone.
    pub(super) fn paint(&self, lines: &[Line]) -> std::io::Result<()> {
        let Screen::Live(_) = self else { return Ok(()) };
        let width = size().0;
        let mut page = String::from(HOME);
        for (n, line) in lines.iter().enumerate() {
            if n > 0 {
                page.push_str("\r\n");
            }
            page.push_str(&shown(line, true, width));
            page.push_str(REST_OF_LINE);
        }
        page.push_str(REST_OF_SCREEN);
        write(&page)
    }

    /// Prints a line where stdout is no terminal. Nothing on one.
    ///
    /// # Errors
    /// Where stdout is gone.
    pub(super) fn print(&self, line: &Line) -> std::io::Result<()> {
        match self {
            Screen::Live(_) => Ok(()),
            Screen::Plain => write(&format!("{}\n", line.plain(PLAIN_WIDTH))),
        }
    }

    /// Gives the terminal back, and prints what is to stay on it.
    ///
    /// # Errors
    /// Where stdout is gone.
    pub(super) fn close(self, lines: &[Line]) -> std::io::Result<()> {
        let styled = matches!(self, Screen::Live(_));
        drop(self);
        for line in lines {
            let text = if styled {
                line.styled(PLAIN_WIDTH)
            } else {
                line.plain(PLAIN_WIDTH)
            };
            write(&format!("{text}\n"))?;
        }
        Ok(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Where stdout is gone, there is nothing to give back.
        let _ = write(LEAVE);
    }
}

/// The line as it is shown: without colours where NO_COLOR asks for that, or where nobody sees them.
fn shown(line: &Line, live: bool, width: usize) -> String {
    let colours = live && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    if colours { line.styled(width) } else { line.plain(width) }
}

fn write(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn size() -> (usize, usize) {
    match terminal_size::terminal_size() {
        Some((width, height)) => (usize::from(width.0).max(20), usize::from(height.0).max(10)),
        None => USUAL_SIZE,
    }
}
