//! LZF, the compression of `binary_compressed`. The format: a control byte below 32 is followed by one more bytes than it
//! says, to be copied; any other is a copy of earlier output, its length in the upper three bits (7: one more byte adds to
//! it) plus two, its distance in the other five and the next byte, plus one.

/// Decompresses to exactly `length` bytes; `None` if that is not what the input holds. Allocates in step with the input:
/// one byte of it makes at most 132 of output.
pub(super) fn decompress(mut input: &[u8], length: usize) -> Option<Vec<u8>> {
    // Three bytes make 264 at most.
    if length / 132 > input.len() {
        return None;
    }
    let mut output = Vec::with_capacity(length);
    while let Some((&control, rest)) = input.split_first() {
        input = rest;
        let control = usize::from(control);
        if control < 32 {
            let (literal, rest) = input.split_at_checked(control + 1)?;
            output.extend_from_slice(literal);
            input = rest;
        } else {
            let mut run = control >> 5;
            if run == 7 {
                let (&more, rest) = input.split_first()?;
                run += usize::from(more);
                input = rest;
            }
            let (&low, rest) = input.split_first()?;
            input = rest;
            let distance = ((control & 31) << 8 | usize::from(low)) + 1;
            let start = output.len().checked_sub(distance)?;
            if output.len() + run + 2 > length {
                return None;
            }
            // Byte by byte where it repeats what it has just written.
            if distance >= run + 2 {
                output.extend_from_within(start..start + run + 2);
            } else {
                for at in start..start + run + 2 {
                    let byte = output[at];
                    output.push(byte);
                }
            }
        }
        if output.len() > length {
            return None;
        }
    }
    (output.len() == length).then_some(output)
}

#[cfg(test)]
mod tests {
    use super::decompress;

    #[test]
    fn literals_and_copies_are_put_out_and_nothing_beyond_the_length() {
        assert_eq!(decompress(b"\x02abc", 3).unwrap(), b"abc");
        assert_eq!(decompress(b"\x02abc\x20\x02", 6).unwrap(), b"abcabc");
        assert_eq!(decompress(b"\x00a\xe0\x05\x00", 15).unwrap(), b"aaaaaaaaaaaaaaa");
        for (input, length) in [
            (&b"\x02ab"[..], 3),
            (b"\x02abc", 2),
            (b"\x02abc", 4),
            (b"\x00a\x20\x01", 4),
            (b"\x00a\xe0", 4),
            (b"\x00a\xe0\xff\x00", 20),
            (b"", usize::MAX),
        ] {
            assert_eq!(decompress(input, length), None, "{input:?}");
        }
        assert_eq!(decompress(b"", 0).unwrap(), b"");
    }
}
