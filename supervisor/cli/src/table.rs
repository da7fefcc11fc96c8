//! Tables for the terminal: columns as wide as they must be, the last one wrapped within the width, nothing cut off.

use crate::terminal::{Colour, Style};

const GAP: usize = 2;
/// The last column never gets narrower than this, even when lines then grow past the terminal's width.
const LEAST_LAST: usize = 24;

/// Cell of a table: its text and perhaps a colour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    colour: Option<Colour>,
    right: bool,
}

impl Cell {
    /// A number or size: set flush right.
    pub fn right(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            colour: None,
            right: true,
        }
    }

    /// The same cell in a colour.
    pub fn colour(mut self, colour: Colour) -> Self {
        self.colour = Some(colour);
        self
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            colour: None,
            right: false,
        }
    }
}

/// A heading and rows, rendered together.
#[derive(Clone, Debug)]
pub struct TextTable {
    heading: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl TextTable {
    /// A table whose columns have these headings.
    pub fn new<const N: usize>(heading: [&str; N]) -> Self {
        let heading = heading
            .into_iter()
            .map(|text| Cell::from(text).colour(Colour::Bold))
            .collect();
        Self {
            heading,
            rows: Vec::new(),
            indent: 0,
        }
    }

    /// A table without headings, indented by some columns.
    pub fn plain(indent: usize) -> Self {
        Self {
            heading: Vec::new(),
            rows: Vec::new(),
            indent,
        }
    }

    /// Adds one row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The finished lines. A cell of the last column may bring its own line breaks.
    pub fn lines(&self, style: Style) -> Vec<String> {
        let all: Vec<&Vec<Cell>> = Some(&self.heading)
            .filter(|cells| !cells.is_empty())
            .into_iter()
            .chain(&self.rows)
            .collect();
        let columns = all.iter().map(|cells| cells.len()).max().unwrap_or(0);
        let Some(last) = columns.checked_sub(1) else {
            return Vec::new();
        };
        let widths: Vec<usize> = (0..last)
            .map(|column| {
                all.iter()
                    .filter_map(|cells| cells.get(column))
                    .map(|cell| width(&cell.text))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        // Numbers stand under a heading that is flush right like them.
        let right: Vec<bool> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .any(|cells| cells.get(column).is_some_and(|cell| cell.right))
            })
            .collect();
        let before = self.indent + widths.iter().map(|width| width + GAP).sum::<usize>();
        let room = style.width.map(|width| width.saturating_sub(before).max(LEAST_LAST));

        let mut lines = Vec::new();
        for cells in all {
            let mut line = " ".repeat(self.indent);
            for (column, width) in widths.iter().enumerate() {
                let cell = cells.get(column).cloned().unwrap_or_default();
                line += &padded(&cell, *width, right[column], style);
                line += &" ".repeat(GAP);
            }
            let cell = cells.get(last).cloned().unwrap_or_default();
            for (index, part) in wrap(&cell.text, room).into_iter().enumerate() {
                let start = if index == 0 {
                    std::mem::take(&mut line)
                } else {
                    " ".repeat(before)
                };
                let part = cell
                    .colour
                    .map_or_else(|| part.clone(), |colour| style.paint(colour, &part));
                lines.push(format!("{start}{part}").trim_end().to_owned());
            }
        }
        lines
    }
}

fn padded(cell: &Cell, to: usize, right: bool, style: Style) -> String {
    let space = " ".repeat(to.saturating_sub(width(&cell.text)));
    let text = cell
        .colour
        .map_or_else(|| cell.text.clone(), |colour| style.paint(colour, &cell.text));
    if right { space + &text } else { text + &space }
}

/// Columns that a text takes. Names are ASCII; other scripts may come out a little uneven, never wrong.
pub fn width(text: &str) -> usize {
    text.chars().count()
}

/// Breaks a text into lines of at most `room` columns, at spaces where there are any. Never returns an empty list.
pub fn wrap(text: &str, room: Option<usize>) -> Vec<String> {
    let mut lines = Vec::new();
    for given in text.lines() {
        let Some(room) = room else {
            lines.push(given.to_owned());
            continue;
        };
        let mut rest: Vec<char> = given.chars().collect();
        while rest.len() > room {
            let space = rest[..=room].iter().rposition(|c| *c == ' ').filter(|at| *at > 0);
            let tail = rest.split_off(space.unwrap_or(room));
            lines.push(rest.iter().collect::<String>().trim_end().to_owned());
            rest = tail.into_iter().skip(usize::from(space.is_some())).collect();
        }
        lines.push(rest.into_iter().collect());
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> TextTable {
        let mut table = TextTable::new(["NAME", "MEMORY", "LAST"]);
        table.row([
            "lidar".into(),
            Cell::right("61.0 MB"),
            "restarted 41 s ago: killed by SIGSEGV".into(),
        ]);
        table.row(["imu".into(), Cell::right("–"), "".into()]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let expected = "\
NAME    MEMORY  LAST
lidar  61.0 MB  restarted 41 s ago: killed by SIGSEGV
imu          –";
        assert_eq!(sample().lines(Style::PLAIN).join("\n"), expected);
    }

    #[test]
    fn the_last_column_wraps_at_the_terminals_edge() {
        let style = Style {
            colour: false,
            width: Some(42),
        };
        let expected = "\
NAME    MEMORY  LAST
lidar  61.0 MB  restarted 41 s ago: killed
                by SIGSEGV
imu          –";
        assert_eq!(sample().lines(style).join("\n"), expected);
    }

    #[test]
    fn colour_does_not_count_as_width() {
        let mut table = TextTable::plain(2);
        table.row([Cell::from("a").colour(Colour::Red), "x".into()]);
        table.row(["bcd".into(), "y".into()]);
        let lines = table.lines(Style {
            colour: true,
            width: None,
        });
        assert_eq!(lines, ["  \x1b[31ma\x1b[0m    x", "  bcd  y"]);
    }

    #[test]
    fn text_wraps_at_spaces_and_else_anywhere() {
        let cases: [(&str, usize, &[&str]); 5] = [
            ("", 5, &[""]),
            ("one two", 7, &["one two"]),
            ("one two", 5, &["one", "two"]),
            ("abcdefgh", 3, &["abc", "def", "gh"]),
            ("a\nb c", 5, &["a", "b c"]),
        ];
        for (text, room, lines) in cases {
            assert_eq!(wrap(text, Some(room)), lines, "{text:?}");
        }
    }

    #[test]
    fn an_empty_table_has_no_lines() {
        assert!(TextTable::plain(0).lines(Style::PLAIN).is_empty());
    }
}
