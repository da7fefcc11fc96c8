//! Follows the length prefixes of gRPC messages through a stream of chunks, so that a message which is too long ends
//! its call from its five-byte header alone, and a stream that breaks off inside a message is noticed.

/// Longest message that passes, in bytes; the receive limit of every peer.
pub const MAX_MESSAGE_LEN: usize = 32 << 20;

/// Flag and length in front of every message, in bytes.
pub const HEADER_LEN: usize = 5;

/// A message longer than [`MAX_MESSAGE_LEN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("grpc: received message larger than max ({0} vs. {MAX_MESSAGE_LEN})")]
pub struct MessageTooLong(pub u32);

/// Position in the stream of gRPC messages of one direction of a call.
#[derive(Debug, Default)]
pub struct FrameScanner {
    /// Payload bytes of the current message that have yet to come.
    remaining: usize,
}

/// Message boundaries in a chunk.
#[derive(Debug, PartialEq, Eq)]
pub struct ScannedFrames {
    /// Bytes at the chunk's beginning that may go on. The rest, fewer than [`HEADER_LEN`], is the beginning of a
    /// message's header: keep it and put it in front of the next chunk.
    pub pass: usize,
    /// The header after those bytes announces too long a message; nothing more of this stream may pass.
    pub too_long: Option<MessageTooLong>,
}

impl FrameScanner {
    /// Moves over a chunk.
    pub fn follow(&mut self, chunk: &[u8]) -> ScannedFrames {
        let mut at = 0;
        loop {
            let step = self.remaining.min(chunk.len() - at);
            self.remaining -= step;
            at += step;
            let Some(header) = chunk[at..].first_chunk::<HEADER_LEN>() else {
                return ScannedFrames {
                    pass: at,
                    too_long: None,
                };
            };
            let length = length_of(*header);
            // A u32 fits a usize wherever this runs.
            if length as usize > MAX_MESSAGE_LEN {
                return ScannedFrames {
                    pass: at,
                    too_long: Some(MessageTooLong(length)),
                };
            }
            self.remaining = length as usize;
            at += HEADER_LEN;
        }
    }

    /// True between two messages: here a stream may end.
    pub fn at_boundary(&self) -> bool {
        self.remaining == 0
    }
}

/// Length that a message's header announces, in bytes.
pub fn length_of(header: [u8; HEADER_LEN]) -> u32 {
    let [_, length @ ..] = header;
    u32::from_be_bytes(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(length: usize) -> Vec<u8> {
        let mut message = vec![0];
        message.extend(u32::try_from(length).unwrap().to_be_bytes());
        message.resize(HEADER_LEN + length, 7);
        message
    }

    #[test]
    fn a_long_message_is_noticed_at_its_header_and_what_came_before_it_passes() {
        let mut chunk = message(3);
        chunk.extend([0, 2, 0, 0, 1, 9, 9]);
        let followed = FrameScanner::default().follow(&chunk);
        assert_eq!(
            followed,
            ScannedFrames {
                pass: 8,
                too_long: Some(MessageTooLong((32 << 20) + 1))
            }
        );
        let exact = [0, 2, 0, 0, 0];
        assert_eq!(
            FrameScanner::default().follow(&exact),
            ScannedFrames {
                pass: 5,
                too_long: None
            }
        );
    }

    #[test]
    fn a_torn_header_is_held_back() {
        let mut follower = FrameScanner::default();
        let mut chunk = message(2);
        chunk.extend([0, 0, 0]);
        assert_eq!(
            follower.follow(&chunk),
            ScannedFrames {
                pass: 7,
                too_long: None
            }
        );
        assert!(follower.at_boundary());
        assert_eq!(
            follower.follow(&[0, 0, 0, 0, 4, 1]),
            ScannedFrames {
                pass: 6,
                too_long: None
            }
        );
        assert!(!follower.at_boundary());
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_all_of_it_passes(
            lengths in proptest::collection::vec(0usize..40, 0..12),
            cuts in proptest::collection::vec(1usize..30, 1..8),
        ) {
            let stream: Vec<u8> = lengths.iter().flat_map(|&length| message(length)).collect();
            let (mut follower, mut passed, mut held, mut rest) = (FrameScanner::default(), Vec::new(), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                held.extend_from_slice(chunk);
                let followed = follower.follow(&held);
                prop_assert_eq!(followed.too_long, None);
                prop_assert!(held.len() - followed.pass < HEADER_LEN);
                passed.extend(held.drain(..followed.pass));
                rest = after;
            }
            prop_assert!(follower.at_boundary() && held.is_empty());
            prop_assert_eq!(passed, stream);
        }
    }
}
