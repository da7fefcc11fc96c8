//! Bytes that are counted for their caller until they are taken: of a request by its module, of an answer by the caller.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use mainstay_model::held::Hold;
use mainstay_proxy::status::CallError;
use tonic::Status;

/// Bytes that are handed on at once.
const CHUNK: usize = 64 << 10;

/// Counts what is kept.
///
/// # Errors
/// It is more than may be.
pub fn hold(hold: &mut Hold, bytes: usize) -> Result<(), Status> {
    hold.set(bytes).map_err(|error| CallError::from(error).into())
}

/// Body that is counted until it is taken.
pub struct Held {
    bytes: Bytes,
    hold: Hold,
}

impl Held {
    /// A body of these bytes.
    ///
    /// # Errors
    /// They are more than may be held.
    pub fn new(bytes: Bytes, mut count: Hold) -> Result<Self, Status> {
        hold(&mut count, bytes.len())?;
        Ok(Self { bytes, hold: count })
    }

    /// The next part, which no longer counts.
    pub fn next(&mut self) -> Option<Bytes> {
        let length = self.bytes.len().min(CHUNK);
        let part = self.bytes.split_to(length);
        // Never more than before.
        let _ = self.hold.set(self.bytes.len());
        (!part.is_empty()).then_some(part)
    }
}

impl Body for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.next().map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use mainstay_model::held::{Account, Everybody, Way};

    use super::*;

    #[tokio::test]
    async fn it_comes_in_parts_and_what_is_left_counts() {
        let account = Account::of_peer([10, 0, 0, 1].into(), &Everybody::default());
        let many = Bytes::from(vec![7; 60 << 20]);
        let mut body = Held::new(many.clone(), Hold::new(account.clone(), Way::Answer)).expect("few enough");
        assert!(Held::new(many.clone(), Hold::new(account.clone(), Way::Answer)).is_err());
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let chunk = frame.expect("it does not break off").into_data().expect("no trailers");
            length += chunk.len();
            assert!(chunk.len() <= CHUNK && body.size_hint().exact() == Some((many.len() - length) as u64));
        }
        assert!(length == many.len() && body.is_end_stream());
        assert!(
            Held::new(many, Hold::new(account, Way::Answer)).is_ok(),
            "nothing is left of the first"
        );
    }
}
