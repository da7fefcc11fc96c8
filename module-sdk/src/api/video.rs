//! `rdk:service:video`: recorded video.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use mainstay_proto::viam::service::video::v1;

use super::{Streaming, outgoing::request_id};
use crate::{Object, Resource, Result, api, wire::Wire};

/// Video (`rdk:service:video`).
///
/// ```
/// use std::time::SystemTime;
///
/// use mainstay_module::{api::{Streaming, video::{Chunk, Video}}, prelude::*};
/// # struct Recorder;
/// # impl Resource for Recorder {}
///
/// #[async_trait]
/// impl Video for Recorder {
///     async fn video(
///         &self, start: Option<SystemTime>, end: Option<SystemTime>, codec: &str, container: &str, extra: &Object,
///     ) -> Result<Streaming<Chunk>> {
///         let chunk = Chunk { data: vec![0; 1000].into(), container: "mp4".into() };
///         Ok(Box::pin(futures_util::stream::iter([Ok(chunk)])))
///     }
/// }
/// ```
#[api("rdk:service:video", v1::VideoService { DoCommand, GetStatus })]
pub trait Video: Resource {
    /// Streams the video of a span of time; an absent end is open. `codec` and `container` are the caller's wish, and may be
    /// empty.
    #[rpc(stream GetVideo {
        start_timestamp: start, end_timestamp: end, video_codec: codec, video_container: container
    }, serve = serve_video, call = call_video)]
    async fn video(
        &self,
        start: Option<SystemTime>,
        end: Option<SystemTime>,
        codec: &str,
        container: &str,
        extra: &Object,
    ) -> Result<Streaming<Chunk>>;
}

/// Piece of a video.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The pieces together are one file.
    pub data: Bytes,
    /// Format of the file, such as `mp4`.
    pub container: String,
}

/// Answers the call. Clients know their own by the id that they gave it, so each chunk carries that.
async fn serve_video(video: Arc<dyn Video>, request: v1::GetVideoRequest) -> Result<Streaming<v1::GetVideoResponse>> {
    let v1::GetVideoRequest {
        name: _,
        start_timestamp,
        end_timestamp,
        video_codec,
        video_container,
        request_id,
        extra,
    } = request;
    let start = Wire::from_wire(start_timestamp, "start_timestamp")?;
    let end = Wire::from_wire(end_timestamp, "end_timestamp")?;
    let extra = Wire::from_wire(extra, "extra")?;
    let chunks = video.video(start, end, &video_codec, &video_container, &extra).await?;
    Ok(Box::pin(chunks.map(move |chunk| {
        let Chunk {
            data: video_data,
            container: video_container,
        } = chunk?;
        Ok(v1::GetVideoResponse {
            video_data,
            video_container,
            request_id: request_id.clone(),
        })
    })))
}

async fn call_video(
    client: &VideoClient,
    start: Option<SystemTime>,
    end: Option<SystemTime>,
    codec: &str,
    container: &str,
    extra: &Object,
) -> Result<Streaming<Chunk>> {
    let request = client.0.request(v1::GetVideoRequest {
        name: client.0.name().to_owned(),
        start_timestamp: start.into_wire(),
        end_timestamp: end.into_wire(),
        video_codec: codec.to_owned(),
        video_container: container.to_owned(),
        request_id: request_id(),
        extra: extra.clone().into_wire(),
    });
    let chunks = client
        .0
        .response(async move { client.stub().get_video(request).await })
        .await?;
    Ok(Box::pin(chunks.map(|chunk| {
        let v1::GetVideoResponse {
            video_data: data,
            video_container: container,
            request_id: _,
        } = chunk?;
        Ok(Chunk { data, container })
    })))
}
