//! Room that a message takes once it is decoded, known before: a few bytes on the wire can become a hundred times as many.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_reflect::{Kind, MessageDescriptor};

/// Bytes that a value in JSON, or a message, costs beside its own.
const NODE: usize = 768;
/// Times that the bytes of a message or form are there at once: as they came, decoded, and written anew.
const COPIES: usize = 3;
/// Bytes that a number of a list costs.
const NUMBER: usize = 64;
/// Deepest nesting; parsers stop at 100 as well.
const MAX_DEPTH: usize = 100;

/// Most bytes that one request may take: as many as are held of requests for a connection.
pub const MAX_REQUEST: usize = 40 << 20;
/// The same of one answer.
pub const MAX_ANSWER: usize = 64 << 20;

/// Room for a text of JSON.
pub fn of_json(text: &[u8]) -> usize {
    let (mut values, mut inside, mut escaped) = (1_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = inside,
            b'"' => inside = !inside,
            b',' | b'[' | b'{' if !inside => values += 1,
            _ => {}
        }
    }
    text.len() + values * NODE
}

/// Room for a form or query, whose values may be texts of JSON. What may stand within their quotes counts as well: where a
/// value begins is known only after decoding.
pub fn of_form(text: &[u8]) -> usize {
    let marks = percent_encoding::percent_decode(text).filter(|byte| matches!(byte, b'&' | b',' | b'[' | b'{'));
    text.len() * COPIES + (1 + marks.count()) * NODE
}

/// Room for an encoded message of this type. What cannot be read counts no further: the decoder says so.
pub fn of_message(descriptor: &MessageDescriptor, encoded: &[u8]) -> usize {
    encoded.len() * COPIES + nodes(descriptor, encoded, 0)
}

fn nodes(descriptor: &MessageDescriptor, mut rest: &[u8], depth: usize) -> usize {
    let mut weight = NODE;
    while !rest.is_empty() && depth < MAX_DEPTH {
        let Ok((number, wire)) = decode_key(&mut rest) else {
            break;
        };
        if wire != WireType::LengthDelimited {
            weight += NUMBER;
            if skip_field(wire, number, &mut rest, DecodeContext::default()).is_err() {
                break;
            }
            continue;
        }
        let value = decode_varint(&mut rest)
            .ok()
            .and_then(|length| usize::try_from(length).ok());
        let Some((value, after)) = value.and_then(|length| rest.split_at_checked(length)) else {
            break;
        };
        rest = after;
        weight += match descriptor.get_field(number).map(|field| field.kind()) {
            Some(Kind::Message(inner)) => nodes(&inner, value, depth + 1),
            Some(Kind::String | Kind::Bytes) | None => NUMBER,
            Some(Kind::Double | Kind::Fixed64 | Kind::Sfixed64) => value.len() / 8 * NUMBER,
            Some(Kind::Float | Kind::Fixed32 | Kind::Sfixed32) => value.len() / 4 * NUMBER,
            // The last byte of each number has no high bit.
            Some(_) => value.iter().filter(|byte| **byte < 0x80).count() * NUMBER,
        };
    }
    weight
}

#[cfg(test)]
mod tests {
    use mainstay_proto::viam::common::v1::DoCommandRequest;
    use mainstay_proto::viam::service::mlmodel::v1::{FlatTensorDataDouble, FlatTensorDataInt32};
    use mainstay_wire::descriptors::{built_in, pool};
    use prost::Message;
    use prost_types::value::Kind;
    use prost_types::{ListValue, Struct, Value};

    use super::{COPIES, NODE, NUMBER, of_form, of_json, of_message};

    #[test]
    fn json_weighs_by_its_values_and_not_by_what_its_texts_hold() {
        for (text, values) in [
            ("", 1),
            ("7", 1),
            ("[1,2,3]", 4),
            (r#"{"a":"[,,,{\",,","b":{"c":[]}}"#, 5),
            (r#""\\",1"#, 2),
        ] {
            assert_eq!(of_json(text.as_bytes()), text.len() + values * NODE, "{text}");
        }
    }

    #[test]
    fn a_form_weighs_by_its_parameters_and_what_they_hold_once_decoded() {
        for (text, values) in [("", 1), ("a&a&a", 3), ("\"&a=1,2", 3), ("a=%5B1%2C1%2c%7b", 5)] {
            assert_eq!(of_form(text.as_bytes()), text.len() * COPIES + values * NODE, "{text}");
        }
    }

    #[test]
    fn a_message_weighs_by_its_values() {
        let weigh = |name: &str, encoded: &[u8]| {
            let types = pool(built_in(name).expect("ours")).expect("they fit");
            let descriptor = types.get_message_by_name(name).expect("there");
            of_message(&descriptor, encoded) - encoded.len() * COPIES
        };
        let doubles = FlatTensorDataDouble { data: vec![0.5; 100] };
        let name = "viam.service.mlmodel.v1.FlatTensorDataDouble";
        assert_eq!(weigh(name, &doubles.encode_to_vec()), NODE + 100 * NUMBER);
        let numbers = FlatTensorDataInt32 { data: vec![7, 300, -1] };
        let name = "viam.service.mlmodel.v1.FlatTensorDataInt32";
        assert_eq!(weigh(name, &numbers.encode_to_vec()), NODE + 3 * NUMBER);
        let number = |_| Value {
            kind: Some(Kind::NumberValue(1.0)),
        };
        let values = (0..1000).map(number).collect();
        let list = Value {
            kind: Some(Kind::ListValue(ListValue { values })),
        };
        let command = DoCommandRequest {
            name: "x".repeat(1000),
            command: Some(Struct {
                fields: [("list".to_owned(), list)].into(),
            }),
        };
        let weight = weigh("viam.common.v1.DoCommandRequest", &command.encode_to_vec());
        assert!((1000 * NODE..1100 * (NODE + NUMBER)).contains(&weight), "{weight}");
        assert_eq!(weigh("viam.common.v1.DoCommandRequest", b"\xff\xff\xff"), NODE);
    }
}
