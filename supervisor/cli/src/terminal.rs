//! Colour and width of stdout and stderr. A pipe gets neither.

use std::io::IsTerminal;

/// Style of text on one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Colours and bold may be used.
    pub colour: bool,
    /// Columns to stay within; `None` for a pipe or file, where lines may be of any length.
    pub width: Option<usize>,
}

/// The few colours that carry meaning. Text must be as good without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Good state.
    Green,
    /// State on its way, or to be watched.
    Yellow,
    /// Wrong.
    Red,
    /// Less important.
    Dim,
    /// A heading.
    Bold,
}

impl Style {
    /// Style without colour and limit, which a pipe gets.
    pub const PLAIN: Self = Self {
        colour: false,
        width: None,
    };

    /// Style that stdout can show.
    pub fn stdout() -> Self {
        Self::of(
            std::io::stdout().is_terminal(),
            terminal_size::terminal_size_of(std::io::stdout()),
        )
    }

    fn of(is_terminal: bool, size: Option<(terminal_size::Width, terminal_size::Height)>) -> Self {
        if !is_terminal {
            return Self::PLAIN;
        }
        let refused = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            colour: !refused("NO_COLOR") && !dumb,
            // A size of 0 means that nobody told the terminal its size.
            width: Some(size.map_or(80, |(width, _)| usize::from(width.0)).max(20)),
        }
    }

    /// `text` in `colour`, where colours may be used.
    pub fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Green => "32",
            Colour::Yellow => "33",
            Colour::Red => "31",
            Colour::Dim => "2",
            Colour::Bold => "1",
        };
        if self.colour && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_appears_only_where_it_is_allowed() {
        assert_eq!(Style::PLAIN.paint(Colour::Red, "gone"), "gone");
        let terminal = Style {
            colour: true,
            width: Some(80),
        };
        assert_eq!(terminal.paint(Colour::Red, "gone"), "\x1b[31mgone\x1b[0m");
    }
}
