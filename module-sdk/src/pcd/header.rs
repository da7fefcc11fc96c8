//! The header of a PCD file: lines of a keyword and its values, down to `DATA`.

use super::PcdError;

/// Longest header line, in bytes. A file that is no PCD file is noticed before much of it is looked at.
const MAX_LINE: usize = 4096;
/// Most fields of a point, and most values of a field.
const MAX_FIELDS: usize = 256;

/// What the header says.
#[derive(Debug)]
pub(super) struct Header {
    /// Fields of a point, in their order.
    pub fields: Vec<Field>,
    /// How many points are said to follow.
    pub points: usize,
    pub format: Format,
    /// Line of the first data, from 1.
    pub data_line: usize,
}

/// One field of a point.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub name: String,
    /// Bytes of one value: 1, 2, 4 or 8.
    pub size: usize,
    pub kind: Kind,
    /// How many values the field has; positions and colours are the first.
    pub count: usize,
}

/// Type of a field's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Signed,
    Unsigned,
}

/// How the points are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Ascii,
    Binary,
    Compressed,
}

/// Values of a keyword and the line where they are.
type Entry<'a> = (usize, Vec<&'a str>);

#[derive(Default)]
struct Entries<'a> {
    fields: Option<Entry<'a>>,
    size: Option<Entry<'a>>,
    kind: Option<Entry<'a>>,
    count: Option<Entry<'a>>,
    width: Option<Entry<'a>>,
    height: Option<Entry<'a>>,
    points: Option<Entry<'a>>,
}

impl Header {
    /// Reads the header, and returns the data after it.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), PcdError> {
        let (mut entries, mut rest, mut number) = (Entries::default(), bytes, 0);
        loop {
            number += 1;
            let at = |cause: String| PcdError::at(number, cause);
            if rest.is_empty() {
                return Err(at("the file ends before `DATA`".into()));
            }
            let end = rest.iter().take(MAX_LINE).position(|byte| *byte == b'\n');
            let (line, after) = match end {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None if rest.len() < MAX_LINE => (rest, &[][..]),
                None => return Err(at(format!("a line of the header has more than {MAX_LINE} bytes"))),
            };
            rest = after;
            let line = std::str::from_utf8(line).map_err(|_| at("the header is not text".into()))?;
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(keyword) = words.next() else { continue };
            let values: Vec<_> = words.take(MAX_FIELDS + 1).collect();
            if values.len() > MAX_FIELDS {
                return Err(at(format!("`{keyword}` has more than {MAX_FIELDS} values")));
            }
            let place = match keyword {
                "VERSION" | "VIEWPOINT" => continue,
                // `COLUMNS` is the name of version .5.
                "FIELDS" | "COLUMNS" => &mut entries.fields,
                "SIZE" => &mut entries.size,
                "TYPE" => &mut entries.kind,
                "COUNT" => &mut entries.count,
                "WIDTH" => &mut entries.width,
                "HEIGHT" => &mut entries.height,
                "POINTS" => &mut entries.points,
                "DATA" => {
                    let format = match values[..] {
                        ["ascii"] => Format::Ascii,
                        ["binary"] => Format::Binary,
                        ["binary_compressed"] => Format::Compressed,
                        _ => {
                            return Err(at(format!(
                                "`DATA` is `{}`, not `ascii`, `binary` or `binary_compressed`",
                                shown(&values.join(" "))
                            )));
                        }
                    };
                    return Ok((entries.check(format, number)?, rest));
                }
                other => return Err(at(format!("`{}` is no keyword of a PCD header", shown(other)))),
            };
            if place.replace((number, values)).is_some() {
                return Err(at(format!("`{keyword}` is there twice")));
            }
        }
    }

    /// Bytes of one point in binary data.
    pub(super) fn stride(&self) -> usize {
        self.fields.iter().map(Field::bytes).sum()
    }
}

impl Field {
    /// Bytes of all values of the field in one point.
    pub(super) fn bytes(&self) -> usize {
        self.size * self.count
    }
}

impl Entries<'_> {
    fn check(self, format: Format, line: usize) -> Result<Header, PcdError> {
        let missing = |keyword| PcdError::at(line, format!("there is no `{keyword}` before `DATA`"));
        let (names_line, names) = self.fields.ok_or_else(|| missing("FIELDS"))?;
        for axis in ["x", "y", "z"] {
            if !names.contains(&axis) {
                return Err(PcdError::at(names_line, format!("`FIELDS` has no `{axis}`")));
            }
        }
        let (size_line, sizes) = self.size.ok_or_else(|| missing("SIZE"))?;
        let (kind_line, kinds) = self.kind.ok_or_else(|| missing("TYPE"))?;
        let (count_line, counts) = self.count.unwrap_or_else(|| (line, vec!["1"; names.len()]));
        for (line, keyword, values) in [
            (size_line, "SIZE", &sizes),
            (kind_line, "TYPE", &kinds),
            (count_line, "COUNT", &counts),
        ] {
            if values.len() != names.len() {
                return Err(PcdError::at(
                    line,
                    format!("`{keyword}` has {} values for {} fields", values.len(), names.len()),
                ));
            }
        }
        let mut fields = Vec::with_capacity(names.len());
        for (((name, size), kind), count) in names.into_iter().zip(sizes).zip(kinds).zip(counts) {
            let kind = match kind {
                "F" => Kind::Float,
                "I" => Kind::Signed,
                "U" => Kind::Unsigned,
                other => {
                    return Err(PcdError::at(
                        kind_line,
                        format!("the type `{}` is not F, I or U", shown(other)),
                    ));
                }
            };
            let size = match (size, kind) {
                ("1", Kind::Signed | Kind::Unsigned) => 1,
                ("2", Kind::Signed | Kind::Unsigned) => 2,
                ("4", _) => 4,
                ("8", _) => 8,
                _ => {
                    return Err(PcdError::at(
                        size_line,
                        format!(
                            "field `{}` of this type cannot have the size `{}`",
                            shown(name),
                            shown(size)
                        ),
                    ));
                }
            };
            let count = number(count_line, "COUNT", count)?;
            if count > MAX_FIELDS || (count == 0 && matches!(name, "x" | "y" | "z")) {
                return Err(PcdError::at(
                    count_line,
                    format!("field `{}` cannot have {count} values", shown(name)),
                ));
            }
            let name = name.to_owned();
            fields.push(Field {
                name,
                size,
                kind,
                count,
            });
        }
        let one = |keyword, entry: Option<Entry<'_>>| match entry {
            None => Ok(None),
            Some((line, values)) => match values[..] {
                [value] => number(line, keyword, value).map(|value| Some((line, value))),
                _ => Err(PcdError::at(line, format!("`{keyword}` needs one number"))),
            },
        };
        let (width, height) = (one("WIDTH", self.width)?, one("HEIGHT", self.height)?);
        let grid = match (width, height) {
            (Some((_, width)), Some((line, height))) => Some((
                line,
                width
                    .checked_mul(height)
                    .ok_or_else(|| PcdError::at(line, "width times height is too large"))?,
            )),
            (Some(width), None) => Some(width),
            (None, _) => None,
        };
        let points = match (one("POINTS", self.points)?, grid) {
            (Some((line, points)), Some((_, grid))) if points != grid => {
                return Err(PcdError::at(
                    line,
                    format!("`POINTS` is {points}, width times height is {grid}"),
                ));
            }
            (Some((_, points)), _) | (None, Some((_, points))) => points,
            (None, None) => return Err(missing("POINTS")),
        };
        Ok(Header {
            fields,
            points,
            format,
            data_line: line + 1,
        })
    }
}

fn number(line: usize, keyword: &str, value: &str) -> Result<usize, PcdError> {
    value
        .parse()
        .map_err(|_| PcdError::at(line, format!("`{keyword}` has `{}`, which is no count", shown(value))))
}

/// Returns what of a text of strangers goes into an error.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}
