//! Path of a value in a config: `components.left-motor.attributes.rate_hz`, `components[3].model`.
//!
//! A part names a key of a map, or an entry of a list by its `name`; a number in brackets is a place in a list, from 0.
//! A part that holds a dot or a bracket stands in double quotes.

use std::fmt;
use std::str::FromStr;

/// Segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// A key, or the name of an entry.
    Name(String),
    /// A place in a list, from 0.
    Index(usize),
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Name(name) if name.is_empty() || name.contains(['.', '[', ']', '"', '\\']) => {
                let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "\"{quoted}\"")
            }
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The way from the top of a config to one value. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuePath(pub(super) Vec<Segment>);

/// A text that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` names no value: {problem}; write it like `components.left-motor.attributes.rate_hz` or `components[3].model`"
)]
pub struct BadPath {
    text: String,
    problem: &'static str,
}

impl ValuePath {
    /// True if it says by a number which entry of a section is meant.
    #[must_use]
    pub fn counts_entries(&self) -> bool {
        matches!(self.0.get(1), Some(Segment::Index(_)))
    }

    /// The way to the key `name` of the map that this leads to.
    #[must_use]
    pub fn key(mut self, name: &str) -> Self {
        self.0.push(Segment::Name(name.to_owned()));
        self
    }

    /// The way to an item of the list that this leads to, from 0.
    #[must_use]
    pub fn item(mut self, index: usize) -> Self {
        self.0.push(Segment::Index(index));
        self
    }

    /// The first `count` parts as text.
    pub(super) fn first(&self, count: usize) -> String {
        show(&self.0[..count])
    }
}

fn show(segments: &[Segment]) -> String {
    let mut text = String::new();
    for segment in segments {
        if !text.is_empty() && matches!(segment, Segment::Name(_)) {
            text.push('.');
        }
        text += &segment.to_string();
    }
    text
}

impl fmt::Display for ValuePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show(&self.0))
    }
}

impl FromStr for ValuePath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        let bad = |problem| BadPath {
            text: text.to_owned(),
            problem,
        };
        let mut segments = Vec::new();
        let mut rest = text;
        loop {
            if let Some(inside) = rest.strip_prefix('[') {
                let (number, behind) = inside.split_once(']').ok_or_else(|| bad("a bracket is not closed"))?;
                let index = number.parse().map_err(|_| bad("in brackets stands a number, from 0"))?;
                segments.push(Segment::Index(index));
                rest = behind;
            } else if let Some(inside) = rest.strip_prefix('"') {
                let (name, behind) = quoted(inside).ok_or_else(|| bad("a quote is not closed"))?;
                segments.push(Segment::Name(name));
                rest = behind;
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                if end == 0 {
                    return Err(bad("a part of it is empty"));
                }
                if rest[..end].contains(['"', ']']) {
                    return Err(bad("a part with a quote or a bracket in it stands in quotes"));
                }
                segments.push(Segment::Name(rest[..end].to_owned()));
                rest = &rest[end..];
            }
            match rest.as_bytes().first() {
                None => return Ok(Self(segments)),
                Some(b'[') => {}
                Some(b'.') if !rest[1..].starts_with('[') => rest = &rest[1..],
                Some(_) => return Err(bad("its parts are separated by dots")),
            }
        }
    }
}

/// The text up to the closing quote, and what stands behind that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((name, &text[at + 1..])),
            '\\' => name.push(chars.next()?.1),
            _ => name.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_and_shown_as_it_was_written() {
        for text in [
            "debug",
            "components.left-motor.attributes.rate_hz",
            "components[3].attributes",
            "modules.m.env.\"a.b\"",
            "components[0][1].x",
            "a.\"say \\\"hi\\\"\"",
        ] {
            assert_eq!(
                text.parse::<ValuePath>().map(|path| path.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_an_example() {
        for text in [
            "", ".", "a.", "a..b", "a[", "a[x]", "a[-1]", "a.[0]", "a\"", "\"a", "a[0]b", "\"a\"b",
        ] {
            let error = text.parse::<ValuePath>().map(|path| path.to_string());
            let error = error.expect_err(text).to_string();
            assert!(error.contains("components[3].model"), "{error}");
        }
    }
}
