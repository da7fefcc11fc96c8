//! Sizes in bytes as people write them: `200MB`, `128MiB`, `1.5 GB`, `4096`.

/// The text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadSize {
    /// The text is no size.
    #[error("invalid size \"{0}\"")]
    Unreadable(String),
    /// The unit lacks the part that says whether it counts in thousands.
    #[error("\"{text}\" does not say whether thousands or 1024s are meant")]
    Ambiguous {
        /// Text as written.
        text: String,
        /// Two readings of the text.
        meant: [String; 2],
    },
}

/// Units and their length in bytes, in lower case.
const UNITS: [(&str, f64); 10] = [
    ("", 1.0),
    ("b", 1.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("tib", 1_099_511_627_776.0),
];

/// Reads a size, rounded down to whole bytes. Units are taken in any case.
pub(super) fn parse(text: &str) -> Result<u64, BadSize> {
    let bad = || BadSize::Unreadable(text.to_owned());
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..digits].parse().map_err(|_| bad())?;
    let written = text[digits..].trim();
    let unit = written.to_ascii_lowercase();
    if let "k" | "m" | "g" | "t" | "ki" | "mi" | "gi" | "ti" = unit.as_str() {
        let letter = unit[..1].to_ascii_uppercase();
        let thousands = if letter == "K" { "k" } else { &letter };
        let meant = [format!("{number}{thousands}B"), format!("{number}{letter}iB")];
        let text = text.to_owned();
        return Err(BadSize::Ambiguous { text, meant });
    }
    let (_, length) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
    let bytes = number * length;
    // Above this a double no longer counts bytes; no machine has that many.
    if bytes > 9e15 {
        return Err(bad());
    }
    Ok(bytes as u64)
}

/// Writes a size so that a person takes it in: `64KiB`, `10MiB`, `1TB`, `1500B`.
pub(super) fn show(bytes: u64) -> String {
    let whole = UNITS[2..]
        .iter()
        .filter(|(_, length)| bytes > 0 && bytes.is_multiple_of(*length as u64))
        .min_by_key(|(_, length)| bytes / *length as u64);
    match whole {
        Some((unit, length)) => {
            let (prefix, rest) = unit.split_at(1);
            let prefix = if *unit == "kb" {
                prefix.to_owned()
            } else {
                prefix.to_ascii_uppercase()
            };
            format!("{}{prefix}{}", bytes / *length as u64, rest.replace('b', "B"))
        }
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("200MB", 200_000_000),
            ("200 MB", 200_000_000),
            ("200mb", 200_000_000),
            ("128MiB", 128 << 20),
            ("1.5GiB", 3 << 29),
            ("64kB", 64_000),
            ("64KiB", 65_536),
            ("2TB", 2_000_000_000_000),
            ("1TiB", 1 << 40),
            ("7B", 7),
            ("0.5b", 0),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn other_texts_are_quoted_in_the_error() {
        for text in [
            "",
            "MB",
            "-1MB",
            "1e6",
            "1.2.3MB",
            ".",
            "ten",
            "1XB",
            "1 2MB",
            "9999999TiB",
            "1é",
        ] {
            assert_eq!(parse(text), Err(BadSize::Unreadable(text.to_owned())), "{text}");
        }
        for (text, meant) in [
            ("200M", ["200MB", "200MiB"]),
            ("1.5g", ["1.5GB", "1.5GiB"]),
            ("64k", ["64kB", "64KiB"]),
            ("1 Ti", ["1TB", "1TiB"]),
        ] {
            let (text, meant) = (text.to_owned(), meant.map(str::to_owned));
            assert_eq!(
                parse(&text),
                Err(BadSize::Ambiguous {
                    text: text.clone(),
                    meant
                }),
                "{text}"
            );
        }
    }

    #[test]
    fn sizes_are_written_in_the_largest_unit_that_leaves_no_rest() {
        for (bytes, text) in [
            (0, "0B"),
            (1500, "1500B"),
            (4096, "4KiB"),
            (64_000, "64kB"),
            (1 << 20, "1MiB"),
            (10 << 20, "10MiB"),
            (1 << 40, "1TiB"),
            (1_000_000_000_000, "1TB"),
        ] {
            assert_eq!(show(bytes), text);
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }
}
