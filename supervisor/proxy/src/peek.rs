//! Reads the beginning of a call until the name of its resource is known, and puts it back.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use http::HeaderMap;
use mainstay_proto::fields::{Extent, string_field};
use tonic::Status;

use crate::body::RequestBody;
use crate::status::CallError;
use mainstay_proto::frames;
use mainstay_proto::frames::{HEADER_LEN, MAX_MESSAGE_LEN, MessageTooLong};

/// Most bytes of a first message that are kept, and searched for the name.
pub const MAX_SCAN_LEN: usize = 64 << 10;

/// Position of the resource's name in a method's request.
#[derive(Clone, Copy, Debug)]
pub struct Addressing<'a> {
    /// Numbers of the fields that lead to the name, from the outside in.
    pub path: &'a [u32],
    /// The API, `rdk:component:motor`, when it is one of the standard ones; error texts differ for custom ones.
    pub standard_api: Option<&'a str>,
}

/// A call whose resource is known.
#[derive(Debug)]
pub struct Peeked {
    /// The name as the caller wrote it; never empty.
    pub name: String,
    /// The whole body; nothing is missing.
    pub body: RequestBody,
}

/// Waits until the first message, or its first [`MAX_SCAN_LEN`] bytes, is there and reads the name from it.
///
/// Cancel-safe only in the sense that dropping it drops the call. Sets no limit in time: see
/// [`Deadline::limit`](crate::deadline::Deadline::limit).
pub async fn peek(mut body: RequestBody, headers: &HeaderMap, addressing: Addressing<'_>) -> Result<Peeked, Status> {
    let encoding = Encoding::of(headers)?;
    let (first, length) = first_message(&mut body).await?;
    let compressed = match (first[0], encoding) {
        (0, _) => false,
        (1, Encoding::Gzip) => true,
        (1, Encoding::Identity) => {
            return Err(CallError::CompressedFlag.into());
        }
        (flag, _) => {
            return Err(CallError::Flag(flag).into());
        }
    };
    let seen = &first[HEADER_LEN..first.len().min(HEADER_LEN + length.min(MAX_SCAN_LEN))];
    let extent = Extent::whole_if(seen.len() == length);
    let name = if compressed {
        let (plain, extent) = inflate(seen, extent)?;
        name(&plain, extent, addressing)?
    } else {
        name(seen, extent, addressing)?
    };
    body.put_back(first);
    Ok(Peeked { name, body })
}

enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, CallError> {
        match headers.get("grpc-encoding").map(|value| value.as_bytes()) {
            None | Some(b"" | b"identity") => Ok(Self::Identity),
            Some(b"gzip") => Ok(Self::Gzip),
            Some(other) => Err(CallError::Encoding(String::from_utf8_lossy(other).into_owned())),
        }
    }
}

/// The beginning of the stream: the first message's header and as much of the message as is searched, at least; with
/// the message's length.
async fn first_message(body: &mut RequestBody) -> Result<(Bytes, usize), Status> {
    let mut first = Bytes::new();
    let mut gathered = BytesMut::new();
    loop {
        let held = if gathered.is_empty() { &first[..] } else { &gathered[..] };
        let length = held
            .first_chunk::<HEADER_LEN>()
            .map(|header| frames::length_of(*header));
        if let Some(length) = length {
            if length as usize > MAX_MESSAGE_LEN {
                return Err(CallError::from(MessageTooLong(length)).into());
            }
            if held.len() - HEADER_LEN >= (length as usize).min(MAX_SCAN_LEN) {
                let first = if gathered.is_empty() { first } else { gathered.freeze() };
                return Ok((first, length as usize));
            }
        }
        if !held.is_empty() {
            body.keep(held.len())?;
        }
        match body.chunk().await {
            // Nearly always the first chunk is the whole message and nothing is copied.
            Some(Ok(chunk)) if held.is_empty() => first = chunk,
            Some(Ok(chunk)) => {
                if gathered.is_empty() {
                    // So that it does not grow to twice of what comes.
                    gathered.reserve(length.map_or(0, |length| (length as usize).min(MAX_SCAN_LEN) + chunk.len()));
                    gathered.extend_from_slice(&first);
                }
                gathered.extend_from_slice(&chunk);
            }
            Some(Err(status)) => return Err(status),
            None if length.is_none() => return Err(CallError::NoMessage.into()),
            None => return Err(CallError::TornRequest.into()),
        }
    }
}

/// Unpacks as much as is searched; the message itself goes on as it came.
fn inflate(packed: &[u8], extent: Extent) -> Result<(Vec<u8>, Extent), CallError> {
    let mut plain = Vec::new();
    // One byte more than is searched tells whether there is more.
    match GzDecoder::new(packed)
        .take(MAX_SCAN_LEN as u64 + 1)
        .read_to_end(&mut plain)
    {
        Ok(_) if plain.len() <= MAX_SCAN_LEN => Ok((plain, extent)),
        Ok(_) => {
            plain.truncate(MAX_SCAN_LEN);
            Ok((plain, Extent::Beginning))
        }
        // What was unpacked before the end of the part that is in sight is good.
        Err(_) if extent == Extent::Beginning => Ok((plain, extent)),
        Err(error) => Err(CallError::Gzip(error)),
    }
}

fn name(message: &[u8], extent: Extent, addressing: Addressing<'_>) -> Result<String, CallError> {
    let range = string_field(message, addressing.path, extent).map_err(CallError::Unreadable)?;
    match range.map(|range| String::from_utf8_lossy(&message[range])) {
        Some(name) if !name.is_empty() => Ok(name.into_owned()),
        _ => Err(match addressing.standard_api {
            Some(api) => CallError::EmptyName(api.to_owned()),
            None => CallError::NoName,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use tonic::Code;

    const MOTOR: Addressing<'static> = Addressing {
        path: &[1],
        standard_api: Some("rdk:component:motor"),
    };
    const CUSTOM: Addressing<'static> = Addressing {
        path: &[2],
        standard_api: None,
    };

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        let mut framed = vec![flag];
        framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend(message);
        framed
    }

    fn packed(message: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(message).unwrap();
        gzip.finish().unwrap()
    }

    /// A message with its name in front and `size` bytes of something else behind it.
    fn named(name: &str, size: usize) -> Vec<u8> {
        let mut message = vec![0x0a, u8::try_from(name.len()).unwrap()];
        message.extend(name.as_bytes());
        if size > 0 {
            message.push(0x12);
            prost::encoding::encode_varint(size as u64, &mut message);
            message.resize(message.len() + size, b'x');
        }
        message
    }

    fn encoded(encoding: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-encoding", encoding.parse().unwrap());
        headers
    }

    /// Peeks at a body that comes in chunks of `chunk` bytes; the name and how many bytes were read, on success.
    fn run(
        stream: &[u8],
        chunk: usize,
        headers: &HeaderMap,
        of: Addressing<'_>,
    ) -> Result<(String, usize), (Code, String)> {
        let chunks: Vec<_> = stream
            .chunks(chunk)
            .map(|c| Ok::<_, Status>(http_body::Frame::data(Bytes::copy_from_slice(c))))
            .collect();
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(chunks));
        let body = RequestBody::from(tonic::body::Body::new(body));
        let block_on = |future| {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
                .block_on(future)
        };
        block_on(async {
            let mut peeked = peek(body, headers, of)
                .await
                .map_err(|s| (s.code(), s.message().to_owned()))?;
            let first = peeked.body.chunk().await.unwrap().unwrap();
            let mut all = first.to_vec();
            while let Some(chunk) = peeked.body.chunk().await {
                all.extend(chunk.unwrap());
            }
            assert_eq!(all, stream, "the body is not as it was");
            Ok((peeked.name, first.len()))
        })
    }

    fn refusal(stream: &[u8], headers: &HeaderMap, of: Addressing<'_>) -> (Code, String) {
        run(stream, 1000, headers, of).unwrap_err()
    }

    #[test]
    fn the_name_is_read_however_the_message_is_cut() {
        let stream = framed(0, &named("left", 300));
        for chunk in [1, 3, 5, 7, 100, 1000] {
            assert_eq!(
                run(&stream, chunk, &HeaderMap::new(), MOTOR).unwrap().0,
                "left",
                "{chunk}"
            );
        }
    }

    #[test]
    fn of_a_large_message_no_more_than_the_limit_is_awaited() {
        let stream = framed(0, &named("left", 4 << 20));
        let (name, read) = run(&stream, 16 << 10, &HeaderMap::new(), MOTOR).unwrap();
        assert_eq!(name, "left");
        assert!(read <= MAX_SCAN_LEN + (16 << 10), "{read}");
        let mut late = named("left", 70 << 10);
        late.extend([0x0a, 5, b'r', b'i', b'g', b'h', b't']);
        assert_eq!(
            run(&framed(0, &late), 1000, &HeaderMap::new(), MOTOR).unwrap().0,
            "left"
        );
    }

    #[test]
    fn a_packed_message_is_searched_and_goes_on_as_it_came() {
        for size in [0, 100, 300 << 10] {
            let stream = framed(1, &packed(&named("left", size)));
            assert_eq!(run(&stream, 50, &encoded("gzip"), MOTOR).unwrap().0, "left", "{size}");
        }
        // A stream that declares gzip may still send plain messages.
        assert_eq!(
            run(&framed(0, &named("left", 9)), 50, &encoded("gzip"), MOTOR)
                .unwrap()
                .0,
            "left"
        );
    }

    #[test]
    fn each_bad_beginning_has_its_code_and_text() {
        let plain = HeaderMap::new();
        let eof = |text: &str| (Code::InvalidArgument, text.to_owned());
        assert_eq!(refusal(b"", &plain, MOTOR), eof("EOF"));
        assert_eq!(refusal(&[0, 0, 0], &plain, MOTOR), eof("EOF"));
        assert_eq!(refusal(&[0, 0, 0, 0, 9, 0x0a], &plain, MOTOR), eof("unexpected EOF"));
        assert_eq!(
            refusal(&framed(0, b""), &plain, MOTOR),
            eof("no node found with api rdk:component:motor and name ")
        );
        assert_eq!(
            refusal(&framed(0, b"\x0a\0"), &plain, MOTOR).1,
            "no node found with api rdk:component:motor and name "
        );
        assert_eq!(
            refusal(&framed(0, &named("left", 0)), &plain, CUSTOM),
            eof("unable to determine resource name due to missing 'name' field")
        );
        for bad in [
            framed(0, b"\x0a\xff"),
            framed(0, b"\x0a\x01\xff"),
            framed(7, b""),
            framed(1, b"\x1f\x8bnot gzip"),
        ] {
            let (code, text) = refusal(&bad, &encoded("gzip"), MOTOR);
            assert_eq!(code, Code::InvalidArgument);
            assert!(text.starts_with("grpc: error unmarshalling request: "), "{text}");
        }
        assert_eq!(
            refusal(&[0, 4, 0, 0, 0], &plain, MOTOR),
            (
                Code::ResourceExhausted,
                "grpc: received message larger than max (67108864 vs. 33554432)".to_owned()
            )
        );
        assert_eq!(
            refusal(&framed(1, b""), &plain, MOTOR),
            (
                Code::Internal,
                "grpc: compressed flag set with identity or empty encoding".to_owned()
            )
        );
        assert_eq!(
            refusal(&framed(1, b""), &encoded("snappy"), MOTOR),
            (
                Code::Unimplemented,
                "grpc: Decompressor is not installed for grpc-encoding \"snappy\"".to_owned()
            )
        );
    }

    #[test]
    fn a_gzip_bomb_is_unpacked_no_further_than_the_limit() {
        let bomb = packed(&named("left", 30 << 20));
        assert!(bomb.len() < 200 << 10);
        assert_eq!(
            run(&framed(1, &bomb), 16 << 10, &encoded("gzip"), MOTOR).unwrap().0,
            "left"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_survived(
            stream in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
            flag in 0u8..3,
            length in 0u8..80,
            chunk in 1usize..40,
        ) {
            // Half of the beginnings look like a message, so that the scan is reached as well.
            let mut framed = vec![flag, 0, 0, 0, length];
            framed.extend(&stream);
            for stream in [&stream, &framed] {
                let _ = run(stream, chunk, &encoded("gzip"), MOTOR);
                let _ = run(stream, chunk, &HeaderMap::new(), CUSTOM);
            }
        }
    }
}
