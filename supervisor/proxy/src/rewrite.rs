//! Names in the first message of a call, replaced by those that another machine knows its resources by.

use std::io::Write;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::write::GzDecoder;
use mainstay_proto::fields::{Extent, replace_string};
use mainstay_proto::frames::{self, HEADER_LEN, MAX_MESSAGE_LEN};
use tokio::sync::Semaphore;
use tonic::Status;

use crate::body::RequestBody;
use crate::peek::MAX_SCAN_LEN;
use crate::status::CallError;

/// Turns at unpacking: one message at a time, so that calls beside wait for one piece of it, however many are packed.
static UNPACKING: Semaphore = Semaphore::const_new(1);
/// Bytes that come of one turn: who has little to unpack is not to wait for all of what others have.
const TURN: usize = 1 << 20;

/// Replaces the name at `path` in the first message of `body`, of which [`peek`](crate::peek::peek) has found it. A message
/// that is compressed goes on plain, because its length is not known before it is; everything else stays as it came.
///
/// # Errors
/// The caller's stream ends in the first message, or it is no gzip, or unpacked larger than any message may be, or than may be held,
/// or too many others of its peer are unpacked.
pub async fn rename(mut body: RequestBody, path: &[u32], name: &str) -> Result<RequestBody, Status> {
    let Some(mut first) = body.chunk().await.transpose()? else {
        return Ok(body);
    };
    let Some(header) = first.first_chunk::<HEADER_LEN>().copied() else {
        return Err(CallError::NoMessage.into());
    };
    let length = frames::length_of(header) as usize;
    if header[0] != 0 {
        let _place = body.account.packed().ok_or(CallError::TooManyPacked)?;
        first.advance(HEADER_LEN);
        let plain = unpack(first, length, &mut body, |message, extent| {
            replace_string(message, path, extent, name).map_err(CallError::Unreadable)
        });
        let plain = plain.await?;
        body.put_back(plain);
        return Ok(body);
    }
    let seen = &first[HEADER_LEN..first.len().min(HEADER_LEN + length.min(MAX_SCAN_LEN))];
    let extent = Extent::whole_if(seen.len() == length);
    let renamed = replace_string(seen, path, extent, name).map_err(CallError::Unreadable)?;
    let renamed = renamed.map(|renamed| {
        let rest = &first[HEADER_LEN + seen.len()..];
        frame(length - seen.len() + renamed.len(), &renamed, rest)
    });
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

/// The first message, of which these `length` bytes are packed, in its frame and with what follows of the last chunk. `rename` is asked for another
/// beginning of it.
///
/// It is unpacked as it comes, some 32 KiB at a time, with others in between: it may become a thousand times as long.
async fn unpack(
    mut chunk: Bytes,
    length: usize,
    body: &mut RequestBody,
    rename: impl Fn(&[u8], Extent) -> Result<Option<Vec<u8>>, CallError>,
) -> Result<Bytes, Status> {
    const SEARCHED: usize = HEADER_LEN + MAX_SCAN_LEN;
    let rename = |plain: &mut Vec<u8>, extent| {
        let seen = HEADER_LEN..plain.len().min(SEARCHED);
        if let Some(renamed) = rename(&plain[seen.clone()], extent)? {
            plain.splice(seen, renamed);
        }
        Ok::<_, CallError>(())
    };
    let mut decoder = GzDecoder::new(vec![0; HEADER_LEN]);
    let (mut left, mut searched) = (length, false);
    loop {
        let mut part = chunk.split_to(chunk.len().min(left));
        left -= part.len();
        let mut begun = decoder.get_ref().len();
        let mut turn = body.ahead_until(begun + part.len(), UNPACKING.acquire()).await?;
        while !part.is_empty() {
            let taken = decoder.write(&part).map_err(CallError::Gzip)?;
            part.advance(taken);
            let plain = decoder.get_mut();
            if !searched && plain.len() > SEARCHED {
                rename(plain, Extent::Beginning)?;
                searched = true;
            }
            bounded(plain)?;
            body.keep(plain.len() + part.len())?;
            if taken == 0 {
                // What comes behind the end of the packed is nothing.
                break;
            }
            tokio::task::yield_now().await;
            let now = decoder.get_ref().len();
            if now - begun >= TURN {
                drop(turn);
                turn = body.ahead_until(now + part.len(), UNPACKING.acquire()).await?;
                begun = now;
            }
        }
        drop(turn);
        if left == 0 {
            break;
        }
        chunk = body.chunk().await.ok_or(CallError::TornRequest)??;
    }
    let mut plain = decoder.finish().map_err(CallError::Gzip)?;
    if !searched {
        let extent = Extent::whole_if(plain.len() <= SEARCHED);
        rename(&mut plain, extent)?;
    }
    let length = bounded(&plain)?;
    plain[1..HEADER_LEN].copy_from_slice(&length.to_be_bytes());
    plain.extend_from_slice(&chunk);
    Ok(plain.into())
}

/// Length of the message in this frame.
fn bounded(plain: &[u8]) -> Result<u32, CallError> {
    let length = u32::try_from(plain.len() - HEADER_LEN).unwrap_or(u32::MAX);
    if length as usize > MAX_MESSAGE_LEN {
        return Err(frames::MessageTooLong(length).into());
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use mainstay_model::held::{Account, Everybody, MAX_PACKED};

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

    fn packed(message: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(message).unwrap();
        gzip.finish().unwrap()
    }

    fn renamed(stream: &[u8], chunk: usize) -> Vec<u8> {
        try_renamed(stream, chunk, |_| {}).unwrap()
    }

    /// What becomes of a stream that comes in chunks of so many bytes; `beside` runs whenever the call gives way.
    fn try_renamed(stream: &[u8], chunk: usize, mut beside: impl FnMut(usize)) -> Result<Vec<u8>, Status> {
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
            let mut renaming = std::pin::pin!(rename(peeked.body, &[1], "left"));
            let mut times = 0;
            let renamed = std::future::poll_fn(|cx| {
                times += 1;
                beside(times);
                renaming.as_mut().poll(cx)
            });
            let mut body = renamed.await?;
            let mut all = Vec::new();
            while let Some(chunk) = body.chunk().await {
                all.extend(chunk?);
            }
            Ok(all)
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
        for size in [0, 300 << 10, 3 << 20] {
            for chunk in [7, 1000, 1 << 24] {
                let mut stream = framed(1, &packed(&named("far:left", size)));
                stream.extend(framed(0, b"more"));
                let mut expected = framed(0, &named("left", size));
                expected.extend(framed(0, b"more"));
                assert!(renamed(&stream, chunk) == expected, "{size} bytes in pieces of {chunk}");
            }
        }
        // What follows the packed one in its own frame is nothing.
        let mut padded = packed(&named("far:left", 10));
        padded.extend([0; 100]);
        assert!(renamed(&framed(1, &padded), 50) == framed(0, &named("left", 10)));
    }

    #[test]
    fn a_message_that_unpacks_beyond_measure_is_refused_and_others_have_their_turn_meanwhile() {
        let bomb = framed(1, &packed(&named("far:left", MAX_MESSAGE_LEN)));
        assert!(bomb.len() < MAX_MESSAGE_LEN / 100);
        let mut times = 0;
        let refused = try_renamed(&bomb, 64 << 10, |now| times = now).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert!(times > MAX_MESSAGE_LEN / (256 << 10), "it gave way {times} times");
        let mut torn = packed(&named("far:left", 300 << 10));
        torn.truncate(torn.len() - 4);
        let refused = try_renamed(&framed(1, &torn), 1000, |_| {}).unwrap_err();
        assert!(refused.message().contains("gzip"), "{refused:?}");
    }

    #[test]
    fn of_one_peer_no_more_than_so_many_wait_to_be_unpacked() {
        let everybody = Everybody::default();
        let [one, other] = [1, 2].map(|host| Account::of_peer([10, 0, 0, host].into(), &everybody));
        // The rest of the message never comes.
        let begun = Bytes::from(framed(1, &packed(&named("far:left", 1000)))).slice(..30);
        let waiting = |account: &Account| {
            let chunks = futures_util::stream::iter([Ok::<_, Status>(http_body::Frame::data(begun.clone()))]);
            let chunks = futures_util::StreamExt::chain(chunks, futures_util::stream::pending());
            let body = tonic::body::Body::new(http_body_util::StreamBody::new(chunks));
            Box::pin(rename(RequestBody::on_account(body, account.clone()), &[1], "left"))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut first: Vec<_> = (0..MAX_PACKED).map(|_| waiting(&one)).collect();
            assert!(first.iter_mut().all(|first| first.now_or_never().is_none()));
            let refused = waiting(&one.beside()).now_or_never().unwrap().unwrap_err();
            assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
            assert!(
                refused.message().starts_with("100 gzip requests of this client"),
                "{refused:?}"
            );
            assert!(waiting(&other).now_or_never().is_none(), "another peer has its own");
            first.pop();
            assert!(waiting(&one).now_or_never().is_none(), "one has gone");
        });
    }
}
