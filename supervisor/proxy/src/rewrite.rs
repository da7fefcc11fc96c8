//! Names in the first message of a call, replaced by those that another machine knows its resources by.

use std::io::Read;

use bytes::{BufMut, Bytes, BytesMut};
use flate2::read::GzDecoder;
use mainstay_proto::fields::{Extent, replace_string};
use mainstay_proto::frames::{self, HEADER_LEN, MAX_MESSAGE_LEN};
use tonic::Status;

use crate::body::RequestBody;
use crate::peek::MAX_SCAN_LEN;
use crate::status::CallError;

/// Replaces the name at `path` in the first message of `body`, of which [`peek`](crate::peek::peek) has found it. A message
/// that is compressed goes on plain, because its length is not known before it is; everything else stays as it came.
///
/// # Errors
/// The caller's stream ends in the first message, or it is no gzip, or unpacked larger than any message may be.
pub async fn rename(mut body: RequestBody, path: &[u32], name: &str) -> Result<RequestBody, Status> {
    let Some(first) = body.chunk().await.transpose()? else {
        return Ok(body);
    };
    let Some(header) = first.first_chunk::<HEADER_LEN>().copied() else {
        return Err(CallError::NoMessage.into());
    };
    let length = frames::length_of(header) as usize;
    let renamed = if header[0] == 0 {
        let seen = &first[HEADER_LEN..first.len().min(HEADER_LEN + length.min(MAX_SCAN_LEN))];
        let extent = if seen.len() == length {
            Extent::Whole
        } else {
            Extent::Beginning
        };
        let renamed = replace_string(seen, path, extent, name).map_err(CallError::Unreadable)?;
        renamed.map(|renamed| {
            frame(
                length - seen.len() + renamed.len(),
                &renamed,
                &first[HEADER_LEN + seen.len()..],
            )
        })
    } else {
        let first = whole(first.clone(), length, &mut body).await?;
        let (packed, rest) = first[HEADER_LEN..].split_at(length);
        let plain = inflate(packed)?;
        let renamed = replace_string(&plain, path, Extent::Whole, name).map_err(CallError::Unreadable)?;
        Some(renamed.map_or_else(
            || frame(plain.len(), &plain, rest),
            |renamed| frame(renamed.len(), &renamed, rest),
        ))
    };
    body.put_back(renamed.unwrap_or(first));
    Ok(body)
}

/// A message of `length` bytes that begins with `message`, and what follows of the stream.
fn frame(length: usize, message: &[u8], rest: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER_LEN + message.len() + rest.len());
    frame.put_u8(0);
    // No longer than the longest message and a name, which fits by far.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.put_slice(rest);
    frame.freeze()
}

/// The stream up to the end of its first message, at least.
async fn whole(first: Bytes, length: usize, body: &mut RequestBody) -> Result<Bytes, Status> {
    if first.len() >= HEADER_LEN + length {
        return Ok(first);
    }
    let mut gathered = BytesMut::from(&first[..]);
    while gathered.len() < HEADER_LEN + length {
        body.keep(gathered.len())?;
        match body.chunk().await {
            Some(chunk) => gathered.extend_from_slice(&chunk?),
            None => return Err(CallError::TornRequest.into()),
        }
    }
    Ok(gathered.freeze())
}

fn inflate(packed: &[u8]) -> Result<Vec<u8>, CallError> {
    let mut plain = Vec::new();
    GzDecoder::new(packed)
        .take(MAX_MESSAGE_LEN as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(CallError::Gzip)?;
    match u32::try_from(plain.len()) {
        Ok(_) if plain.len() <= MAX_MESSAGE_LEN => Ok(plain),
        length => Err(frames::MessageTooLong(length.unwrap_or(u32::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        let mut framed = vec![flag];
        framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend(message);
        framed
    }

    fn named(name: &str, size: usize) -> Vec<u8> {
        let mut message = vec![0x0a, u8::try_from(name.len()).unwrap()];
        message.extend(name.as_bytes());
        message.push(0x12);
        prost::encoding::encode_varint(size as u64, &mut message);
        message.resize(message.len() + size, b'x');
        message
    }

    fn renamed(stream: &[u8], chunk: usize) -> Vec<u8> {
        let chunks: Vec<_> = stream
            .chunks(chunk)
            .map(|chunk| Ok::<_, Status>(http_body::Frame::data(Bytes::copy_from_slice(chunk))))
            .collect();
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(chunks));
        let body = RequestBody::from(tonic::body::Body::new(body));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let headers = http::HeaderMap::from_iter([("grpc-encoding".parse().unwrap(), "gzip".parse().unwrap())]);
            let addressing = crate::peek::Addressing {
                path: &[1],
                standard_api: None,
            };
            let peeked = crate::peek::peek(body, &headers, addressing).await.unwrap();
            assert_eq!(peeked.name, "far:left");
            let mut body = rename(peeked.body, &[1], "left").await.unwrap();
            let mut all = Vec::new();
            while let Some(chunk) = body.chunk().await {
                all.extend(chunk.unwrap());
            }
            all
        })
    }

    #[test]
    fn the_first_message_has_another_name_and_nothing_else_changes() {
        for size in [0, 100, 1 << 20] {
            let mut stream = framed(0, &named("far:left", size));
            stream.extend(framed(0, b"more"));
            let mut expected = framed(0, &named("left", size));
            expected.extend(framed(0, b"more"));
            for chunk in [7, 4096, 1 << 24] {
                assert!(renamed(&stream, chunk) == expected, "{size} bytes in pieces of {chunk}");
            }
        }
    }

    #[test]
    fn a_packed_message_goes_on_plain() {
        for size in [0, 300 << 10] {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&named("far:left", size)).unwrap();
            let mut stream = framed(1, &gzip.finish().unwrap());
            stream.extend(framed(0, b"more"));
            let mut expected = framed(0, &named("left", size));
            expected.extend(framed(0, b"more"));
            assert!(renamed(&stream, 1000) == expected, "{size} bytes");
        }
    }
}
