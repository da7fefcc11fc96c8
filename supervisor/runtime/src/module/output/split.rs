//! Bytes from a pipe, cut into lines that can be shown.

use mainstay_model::text::plain;

/// Longest line, in bytes; a longer one comes in pieces of this size.
pub const MAX_LINE: usize = 4096;

/// The beginning of a line whose end has not come yet.
#[derive(Debug, Default)]
pub struct Splitter {
    line: Vec<u8>,
}

impl Splitter {
    /// Takes in what was read and gives every line that it completes, without its end, to `each`.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let take = end.unwrap_or(bytes.len()).min(MAX_LINE - self.line.len());
            let complete = end == Some(take);
            if complete && self.line.is_empty() {
                each(&bytes[..take]);
            } else {
                self.line.extend_from_slice(&bytes[..take]);
                if complete {
                    each(&self.line);
                    self.line.clear();
                } else if self.line.len() == MAX_LINE {
                    // A letter of several bytes belongs to the next piece as a whole.
                    let cut = MAX_LINE - cut_letter(&self.line);
                    each(&self.line[..cut]);
                    self.line.drain(..cut);
                }
            }
            bytes = &bytes[take + usize::from(complete)..];
        }
        // Most of the time nothing waits here, and there are two of these for each module.
        if self.line.is_empty() {
            self.line = Vec::new();
        }
    }

    /// Passes on the text after the last end of a line.
    pub fn finish(&mut self, each: impl FnOnce(&[u8])) {
        if !self.line.is_empty() {
            each(&std::mem::take(&mut self.line));
        }
    }
}

/// Length of the incomplete letter at the end of `bytes`: 0 if the last one is whole, or no UTF-8 at all.
fn cut_letter(bytes: &[u8]) -> usize {
    for (behind, byte) in bytes.iter().rev().take(3).enumerate() {
        let (present, needed) = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => (behind + 1, 2),
            0xe0..=0xef => (behind + 1, 3),
            0xf0..=0xf4 => (behind + 1, 4),
            _ => return 0,
        };
        return if present < needed { present } else { 0 };
    }
    0
}

/// A line as it can be shown: without what would steer the terminal, bytes that are no text as `\xff`, and of a line
/// that was written over (a progress bar) only the last state.
pub fn printable(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let start = line.iter().rposition(|byte| *byte == b'\r').map_or(0, |at| at + 1);
    let mut text = String::with_capacity(line.len() - start);
    for chunk in line[start..].utf8_chunks() {
        text.push_str(&plain(chunk.valid()));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
        if text.len() > MAX_LINE {
            text.truncate(text.floor_char_boundary(MAX_LINE));
            text.push('…');
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(reads: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for read in reads {
            splitter.push(read, |line| lines.push(printable(line)));
        }
        splitter.finish(|line| lines.push(printable(line)));
        lines
    }

    #[test]
    fn lines_end_where_the_module_ends_them_however_they_are_read() {
        let cases: [(&[&[u8]], &[&str]); 6] = [
            (&[b"a\nb\r\n\nlast"], &["a", "b", "", "last"]),
            (&[b"a", b"b\nc", b"", b"\n"], &["ab", "c"]),
            (&[b"\n\n"], &["", ""]),
            (&[b""], &[]),
            (&["gr\u{fc}".as_bytes(), "n\n".as_bytes()], &["grün"]),
            (&[b"\xc3", b"\xbc\n"], &["ü"]),
        ];
        for (reads, expected) in cases {
            assert_eq!(split(reads), expected, "{reads:?}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_comes_in_pieces_that_cut_no_letter() {
        let lengths = |text: &[u8]| split(&[text]).iter().map(String::len).collect::<Vec<_>>();
        assert_eq!(lengths(&[b'x'; MAX_LINE + 5]), [MAX_LINE, 5]);
        assert_eq!(lengths(&[b'x'; MAX_LINE]), [MAX_LINE]);
        let mut text = vec![b'x'; MAX_LINE - 1];
        text.extend_from_slice("üü\n".as_bytes());
        assert_eq!(lengths(&text), [MAX_LINE - 1, 4]);
        let euros = "€".repeat(MAX_LINE);
        let pieces = split(&[euros.as_bytes()]);
        assert!(pieces.iter().all(|piece| piece.chars().all(|letter| letter == '€')));
        assert_eq!(pieces.concat(), euros);
        // No letter is that long, so this is no text.
        assert_eq!(split(&[&[0xff; MAX_LINE + 1]]).len(), 2);
    }

    #[test]
    fn whatever_is_printed_can_be_shown() {
        let cases: [(&[u8], &str); 6] = [
            (b"plain", "plain"),
            (b"\xff\xfe ok \xc3", "\\xff\\xfe ok \\xc3"),
            (b"\x1b[31mred\x1b[0m\0\x07", "red"),
            (b"10 %\r20 %\r100 %\r", "100 %"),
            (b"\r", ""),
            (b"", ""),
        ];
        for (line, shown) in cases {
            assert_eq!(printable(line), shown, "{line:?}");
        }
        let shown = printable(&[0xff; MAX_LINE]);
        assert!(shown.len() < MAX_LINE + 8 && shown.ends_with('…'), "{}", shown.len());
    }
}
