//! `rdk:component:audio_out`: loudspeakers.

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use mainstay_proto::viam::{
    common::v1 as common,
    component::audioout::v1::{self, play_stream_request::Payload},
};
use tonic::Streaming as Incoming;

pub use super::audio::{AudioInfo, Properties};
use super::{Streaming, outgoing::outgoing};
use crate::{Error, Object, Resource, Resources, Result, api, wire::Wire};

/// Audio output (`rdk:component:audio_out`).
///
/// ```
/// use bytes::Bytes;
/// use mainstay_module::{api::audio_out::{AudioInfo, AudioOut, Properties}, prelude::*};
/// # struct Speaker;
/// # impl Resource for Speaker {}
///
/// #[async_trait]
/// impl AudioOut for Speaker {
///     async fn play(&self, data: Bytes, info: Option<AudioInfo>, extra: &Object) -> Result<()> {
///         Ok(())
///     }
///     async fn properties(&self, extra: &Object) -> Result<Properties> {
///         Ok(Properties { supported_codecs: vec!["pcm16".into()], sample_rate_hz: 44_100, num_channels: 2 })
///     }
/// }
/// ```
#[api("rdk:component:audio_out", v1::AudioOutService { DoCommand, GetStatus, GetGeometries })]
pub trait AudioOut: Resource {
    /// Plays encoded audio, and returns when it has been heard. `info` may be absent where the data tell it themselves.
    #[rpc(Play { audio_data: data, audio_info: info })]
    async fn play(&self, data: Bytes, info: Option<AudioInfo>, extra: &Object) -> Result<()>;

    /// Plays encoded audio while it comes in, and returns when all has been heard. By default it is collected and then
    /// played.
    #[rpc(upload PlayStream, serve = serve_stream, call = call_stream)]
    async fn play_stream(&self, mut chunks: Streaming<Bytes>, info: Option<AudioInfo>, extra: &Object) -> Result<()> {
        let mut data = Vec::new();
        while let Some(chunk) = chunks.next().await {
            data.extend_from_slice(&chunk?);
        }
        self.play(data.into(), info, extra).await
    }

    /// Returns codecs, rate and channels.
    #[rpc(common::GetProperties)]
    async fn properties(&self, extra: &Object) -> Result<Properties>;
}

async fn serve_stream(
    outputs: &Resources<dyn AudioOut>,
    mut requests: Incoming<v1::PlayStreamRequest>,
) -> Result<v1::PlayStreamResponse> {
    let first = requests.message().await?.and_then(|first| first.payload);
    let Some(Payload::Init(v1::PlayStreamInit {
        name,
        audio_info,
        extra,
    })) = first
    else {
        return Err(Error::unknown("first PlayStreamRequest must be PlayStreamInit"));
    };
    let output = outputs.get(&name)?;
    let chunks = requests.filter_map(|request| {
        future::ready(match request {
            Ok(request) => match request.payload {
                Some(Payload::AudioChunk(chunk)) => Some(Ok(chunk.audio_data)),
                // Peers pass over whatever else comes.
                Some(Payload::Init(_)) | None => None,
            },
            Err(status) => Some(Err(Error::from(status))),
        })
    });
    let info = Wire::from_wire(audio_info, "audio_info")?;
    output
        .play_stream(Box::pin(chunks), info, &Wire::from_wire(extra, "extra")?)
        .await?;
    Ok(v1::PlayStreamResponse {})
}

async fn call_stream(
    client: &AudioOutClient,
    chunks: Streaming<Bytes>,
    info: Option<AudioInfo>,
    extra: &Object,
) -> Result<()> {
    let init = Payload::Init(v1::PlayStreamInit {
        name: client.0.name().to_owned(),
        audio_info: info.into_wire(),
        extra: extra.clone().into_wire(),
    });
    let (chunks, broken) = outgoing(chunks);
    let payloads = chunks.map(|audio_data| Payload::AudioChunk(v1::PlayStreamChunk { audio_data }));
    let payloads = stream::iter([init]).chain(payloads);
    let request = client
        .0
        .request(payloads.map(|payload| v1::PlayStreamRequest { payload: Some(payload) }));
    let answer = client
        .0
        .response(async move { client.stub().play_stream(request).await });
    broken.or(answer).await.map(|v1::PlayStreamResponse {}| ())
}
