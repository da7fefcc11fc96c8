//! Fields of encoded messages, found without decoding: the resource name in the first message of a call.
//!
//! Only the top level of the protobuf is walked: tag after tag, each value skipped by its length. Pure; never panics,
//! whatever the bytes are.

use std::ops::Range;

/// Deepest nesting of groups that is followed; peers' parsers stop at 100 as well.
const MAX_GROUP_DEPTH: usize = 100;

/// Extent of the scanned bytes within the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Whole message: a value that goes on past the end is malformed.
    Whole,
    /// Beginning of the message: a value that goes on past the end is merely not in sight.
    Beginning,
}

impl Extent {
    /// The whole message if `whole`, else its beginning.
    pub fn whole_if(whole: bool) -> Self {
        match whole {
            true => Self::Whole,
            false => Self::Beginning,
        }
    }
}

/// Error for bytes that are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A varint longer than ten bytes, or a tag that does not fit 32 bits.
    #[error("variable length integer overflow at byte {0}")]
    Overflow(usize),
    /// Field number 0, a wire type that does not exist, or an end of a group that was not begun.
    #[error("illegal tag at byte {0}")]
    Tag(usize),
    /// A value goes on past the end of the message.
    #[error("unexpected end of the message in the value at byte {0}")]
    End(usize),
    /// More groups inside each other than anyone reads.
    #[error("groups nested too deeply at byte {0}")]
    Depth(usize),
    /// The name is not text.
    #[error("string field contains invalid UTF-8 at byte {0}")]
    Utf8(usize),
}

/// Position in the message of the string field at `path`: field numbers from the outside in, one for most methods.
///
/// The last of several counts, as for every protobuf parser. `None` when the field does not occur. A field of the right
/// number that is not length-delimited is skipped like an unknown one.
pub fn string_field(message: &[u8], path: &[u32], extent: Extent) -> Result<Option<Range<usize>>, Malformed> {
    match find(message, 0, path, extent)? {
        Some(range) if std::str::from_utf8(&message[range.clone()]).is_err() => Err(Malformed::Utf8(range.start)),
        found => Ok(found),
    }
}

/// Walks the fields from `at` to the end of `message`, which ends where the (sub)message does or sight does.
fn find(message: &[u8], mut at: usize, path: &[u32], extent: Extent) -> Result<Option<Range<usize>>, Malformed> {
    let Some((&wanted, inner)) = path.split_first() else {
        return Ok(None);
    };
    let mut found = None;
    let mut groups: Vec<u32> = Vec::new();
    let in_sight = |at, found| match extent {
        Extent::Whole => Err(Malformed::End(at)),
        Extent::Beginning => Ok(found),
    };
    while at < message.len() {
        let Some(Field { number, value, next }) = field(message, at)? else {
            return in_sight(at, found);
        };
        match value {
            FieldValue::Bytes(start) if number == wanted && groups.is_empty() => {
                let whole = next <= message.len();
                let visible = &message[..next.min(message.len())];
                if !inner.is_empty() {
                    let extent = if whole { Extent::Whole } else { extent };
                    found = find(visible, start, inner, extent)?.or(found);
                } else if whole {
                    found = Some(start..next);
                }
            }
            FieldValue::Bytes(_) | FieldValue::Other => {}
            FieldValue::GroupStart if groups.len() == MAX_GROUP_DEPTH => return Err(Malformed::Depth(at)),
            FieldValue::GroupStart => groups.push(number),
            FieldValue::GroupEnd if groups.pop() == Some(number) => {}
            FieldValue::GroupEnd => return Err(Malformed::Tag(at)),
        }
        if next > message.len() {
            return in_sight(at, found);
        }
        at = next;
    }
    if groups.is_empty() {
        Ok(found)
    } else {
        in_sight(at, found)
    }
}

/// The message with `text` in the string field at `path`, where [`string_field`] found it; `None` where it is not. All other
/// bytes stay as they are, but for the lengths of what holds the field.
///
/// # Errors
/// The bytes are no protobuf message.
pub fn replace_string(message: &[u8], path: &[u32], extent: Extent, text: &str) -> Result<Option<Vec<u8>>, Malformed> {
    let Some((&wanted, inner)) = path.split_first() else {
        return Ok(None);
    };
    let (mut at, mut depth, mut found) = (0, 0_usize, None);
    while at < message.len() {
        let Some(Field { number, value, next }) = field(message, at)? else {
            break;
        };
        match value {
            FieldValue::Bytes(start) if number == wanted && depth == 0 => {
                let seen = &message[start..next.min(message.len())];
                let whole = next <= message.len();
                let replaced = match inner {
                    [] => whole.then(|| text.as_bytes().to_vec()),
                    _ => replace_string(seen, inner, if whole { Extent::Whole } else { extent }, text)?,
                };
                if let Some(replaced) = replaced {
                    found = Some((at, start, next, seen.len(), replaced));
                }
            }
            FieldValue::GroupStart => depth += 1,
            FieldValue::GroupEnd => depth = depth.saturating_sub(1),
            FieldValue::Bytes(_) | FieldValue::Other => {}
        }
        at = next;
    }
    let Some((at, start, next, seen, replaced)) = found else {
        return Ok(None);
    };
    let Some((_, tag_end)) = varint(message, at)? else {
        return Ok(None);
    };
    // What is not in sight of the value follows unchanged.
    let length = (next - start - seen).saturating_add(replaced.len());
    let mut whole = Vec::with_capacity(message.len() + replaced.len());
    whole.extend_from_slice(&message[..tag_end]);
    put_varint(length as u64, &mut whole);
    whole.extend_from_slice(&replaced);
    whole.extend_from_slice(message.get(next..).unwrap_or_default());
    Ok(Some(whole))
}

fn put_varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push((value & 0x7f) as u8);
}

/// Field with its tag and the position of its value.
pub struct Field {
    /// Field number.
    pub number: u32,
    /// What follows the tag.
    pub value: FieldValue,
    /// First byte after the value; past the end of what is in sight if the value is.
    pub next: usize,
}

/// Value of a field, as far as one walks over it.
pub enum FieldValue {
    /// Length-delimited, from this byte on.
    Bytes(usize),
    /// Begin of a group.
    GroupStart,
    /// End of a group.
    GroupEnd,
    /// Anything else.
    Other,
}

/// The field that begins at `at`; `None` when its tag, length or number goes on past the end.
pub fn field(message: &[u8], at: usize) -> Result<Option<Field>, Malformed> {
    let Some((tag, after)) = varint(message, at)? else {
        return Ok(None);
    };
    let tag = u32::try_from(tag).map_err(|_| Malformed::Overflow(at))?;
    let number = tag >> 3;
    if number == 0 {
        return Err(Malformed::Tag(at));
    }
    let (value, next) = match tag & 7 {
        0 => match varint(message, after)? {
            Some((_, next)) => (FieldValue::Other, next),
            None => return Ok(None),
        },
        1 => (FieldValue::Other, after + 8),
        2 => match varint(message, after)? {
            Some((length, start)) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                (FieldValue::Bytes(start), start.saturating_add(length))
            }
            None => return Ok(None),
        },
        3 => (FieldValue::GroupStart, after),
        4 => (FieldValue::GroupEnd, after),
        5 => (FieldValue::Other, after + 4),
        _ => return Err(Malformed::Tag(at)),
    };
    Ok(Some(Field { number, value, next }))
}

/// The varint at `at` and the first byte after it; `None` when it goes on past the end.
pub fn varint(message: &[u8], at: usize) -> Result<Option<(u64, usize)>, Malformed> {
    let mut value = 0u64;
    for (index, &byte) in message[at..].iter().take(10).enumerate() {
        // The tenth byte has room for the 64th bit alone.
        if index == 9 && byte > 1 {
            return Err(Malformed::Overflow(at));
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok(Some((value, at + index + 1)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(message: &[u8], number: u32, expected: Result<Option<&str>, Malformed>) {
        let found = string_field(message, &[number], Extent::Whole);
        let found = found.map(|range| range.map(|range| std::str::from_utf8(&message[range]).unwrap()));
        assert_eq!(found, expected, "{message:02x?}");
    }

    #[test]
    fn the_name_is_found_wherever_it_stands() {
        check(b"\x0a\x03arm", 1, Ok(Some("arm")));
        check(b"\x10\x96\x01\x0a\x03arm", 1, Ok(Some("arm")));
        check(b"\x11\0\0\0\0\0\0\0\0\x1d\0\0\0\0\x0a\x03arm", 1, Ok(Some("arm")));
        check(b"\x12\x03arm", 2, Ok(Some("arm")));
        check(b"\xfa\x01\x03arm", 31, Ok(Some("arm")));
        check(b"\x0a\x00", 1, Ok(Some("")));
    }

    #[test]
    fn the_last_of_several_names_counts() {
        check(b"\x0a\x03arm\x0a\x03leg", 1, Ok(Some("leg")));
    }

    #[test]
    fn a_field_of_another_kind_or_inside_a_group_is_not_the_name() {
        check(b"", 1, Ok(None));
        check(b"\x08\x01", 1, Ok(None));
        check(b"\x12\x05\x0a\x03arm", 1, Ok(None));
        check(b"\x13\x0a\x03arm\x14", 1, Ok(None));
        check(b"\x13\x0a\x03arm\x14\x0a\x03leg", 1, Ok(Some("leg")));
    }

    #[test]
    fn what_is_no_protobuf_is_refused_with_its_place() {
        check(b"\x00", 1, Err(Malformed::Tag(0)));
        check(b"\x0f", 1, Err(Malformed::Tag(0)));
        check(b"\x14", 1, Err(Malformed::Tag(0)));
        check(b"\x0a\x03ar", 1, Err(Malformed::End(0)));
        check(b"\x0a\x03arm\x0d\0\0", 1, Err(Malformed::End(5)));
        check(b"\x0a", 1, Err(Malformed::End(0)));
        check(b"\x13", 1, Err(Malformed::End(1)));
        check(b"\x0a\x01\xff", 1, Err(Malformed::Utf8(2)));
        check(
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
            1,
            Err(Malformed::Overflow(1)),
        );
        check(b"\xff\xff\xff\xff\x7f", 1, Err(Malformed::Overflow(0)));
        check(&[0x13; 101], 1, Err(Malformed::Depth(100)));
    }

    #[test]
    fn the_beginning_of_a_message_may_end_anywhere() {
        let message = b"\x0a\x03arm\x12\x7fand much more";
        let range = string_field(message, &[1], Extent::Beginning).unwrap().unwrap();
        assert_eq!(&message[range], b"arm");
        assert_eq!(string_field(b"\x0a\x03ar", &[1], Extent::Beginning), Ok(None));
    }

    #[test]
    fn a_name_inside_a_submessage_is_found_by_its_path() {
        let message = b"\x12\x01x\x0a\x05\x0a\x03arm\x0a\x02\x10\x01";
        assert_eq!(string_field(message, &[1, 1], Extent::Whole), Ok(Some(7..10)));
        assert_eq!(string_field(message, &[2, 1], Extent::Whole), Err(Malformed::End(2)));
        let cut = b"\x0a\x7f\x0a\x03arm\x12\x7fmore";
        assert_eq!(string_field(cut, &[1, 1], Extent::Beginning), Ok(Some(4..7)));
        assert_eq!(string_field(cut, &[1, 1], Extent::Whole), Err(Malformed::End(7)));
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Sample {
        #[prost(uint64, tag = "3")]
        count: u64,
        #[prost(double, tag = "4")]
        size: f64,
        #[prost(message, optional, boxed, tag = "2")]
        inner: Option<Box<Sample>>,
        #[prost(string, tag = "7")]
        name: String,
        #[prost(bytes = "vec", tag = "9")]
        tail: Vec<u8>,
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(message in proptest::collection::vec(any::<u8>(), 0..400), number in 0u32..40) {
            let _ = string_field(&message, &[number], Extent::Whole);
            let _ = string_field(&message, &[number], Extent::Beginning);
            let _ = replace_string(&message, &[number, 1], Extent::Whole, "arm");
            let _ = replace_string(&message, &[number], Extent::Beginning, "arm");
        }

        #[test]
        fn a_replaced_name_is_all_that_a_real_parser_sees_changed(
            count: u64, name in ".{1,200}", inner in proptest::option::of(".{1,9}"), new in ".{1,200}", tail: Vec<u8>, cut: u16,
        ) {
            let inner = inner.map(|name| Box::new(Sample { name, tail: tail.clone(), ..Sample::default() }));
            let sample = Sample { count, size: 1.5, inner, name, tail };
            let message = prost::Message::encode_to_vec(&sample);
            let parse = |message: &[u8]| <Sample as prost::Message>::decode(message).unwrap();
            let replaced = replace_string(&message, &[7], Extent::Whole, &new).unwrap().unwrap();
            prop_assert_eq!(parse(&replaced), Sample { name: new.clone(), ..sample.clone() });
            // The same with a part of the message in sight, if the name is in it.
            let cut = usize::from(cut) % message.len();
            if let Some(mut begun) = replace_string(&message[..cut], &[7], Extent::Beginning, &new).unwrap() {
                begun.extend_from_slice(&message[cut..]);
                prop_assert_eq!(begun, replaced);
            }
            if let Some(inner) = &sample.inner {
                let inner = Some(Box::new(Sample { name: new.clone(), ..(**inner).clone() }));
                let renamed = replace_string(&message, &[2, 7], Extent::Whole, &new).unwrap().unwrap();
                prop_assert_eq!(parse(&renamed), Sample { inner, ..sample.clone() });
                if let Some(mut begun) = replace_string(&message[..cut], &[2, 7], Extent::Beginning, &new).unwrap() {
                    begun.extend_from_slice(&message[cut..]);
                    prop_assert_eq!(begun, renamed);
                }
            }
        }

        #[test]
        fn it_agrees_with_a_real_parser(count: u64, size: f64, name: String, inner: Option<String>, tail: Vec<u8>) {
            let inner = inner.map(|name| Box::new(Sample { name, ..Sample::default() }));
            let message = prost::Message::encode_to_vec(&Sample { count, size, inner, name: name.clone(), tail });
            let range = string_field(&message, &[7], Extent::Whole).unwrap();
            prop_assert_eq!(range.map_or("", |range| std::str::from_utf8(&message[range]).unwrap()), name);
            // Every beginning either shows the same name or none yet.
            for length in 0..message.len() {
                prop_assert!(string_field(&message[..length], &[7], Extent::Beginning).is_ok());
            }
        }
    }
}
