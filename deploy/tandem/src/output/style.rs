//! Colours, only where a person sees them.

use std::io::IsTerminal as _;

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    coloured: bool,
}

impl Style {
    /// Never coloured.
    pub const PLAIN: Style = Style { coloured: false };

    /// Coloured when standard output is a terminal and `NO_COLOR` is not set.
    pub fn of_stdout() -> Style {
        Style { coloured: std::io::stdout().is_terminal() && wanted() }
    }

    /// Coloured when standard error is a terminal and `NO_COLOR` is not set.
    pub fn of_stderr() -> Style {
        Style { coloured: std::io::stderr().is_terminal() && wanted() }
    }

    /// For headings.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// For what is good.
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// For what is bad.
    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// For what matters less.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
