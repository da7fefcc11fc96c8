//! `rdk:component:audio_in`: microphones.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use mainstay_proto::viam::{common::v1 as common, component::audioin::v1};

pub use super::audio::{AudioInfo, Properties};
use super::{Streaming, outgoing::request_id};
use crate::{
    __private::answered,
    Object, Resource, Result, api,
    wire::{Message, Wire},
};

/// Audio input (`rdk:component:audio_in`).
///
/// ```
/// use mainstay_module::{api::{Streaming, audio_in::{AudioChunk, AudioIn, Properties}}, prelude::*};
/// # struct Microphone;
/// # impl Resource for Microphone {}
///
/// #[async_trait]
/// impl AudioIn for Microphone {
///     async fn audio(
///         &self, codec: &str, duration_seconds: f32, previous_timestamp_ns: i64, extra: &Object,
///     ) -> Result<Streaming<AudioChunk>> {
///         let silence = AudioChunk { data: vec![0; 8000].into(), ..AudioChunk::default() };
///         Ok(Box::pin(futures_util::stream::iter([Ok(silence)])))
///     }
///     async fn properties(&self, extra: &Object) -> Result<Properties> {
///         Ok(Properties { supported_codecs: vec!["pcm16".into()], sample_rate_hz: 44_100, num_channels: 1 })
///     }
/// }
/// ```
#[api("rdk:component:audio_in", v1::AudioInService { DoCommand, GetStatus, GetGeometries })]
pub trait AudioIn: Resource {
    /// Streams what is heard, encoded as `codec`, for a time in seconds, or until the caller drops the stream if that is 0.
    /// `previous_timestamp_ns`, Unix time, is the end of the last chunk that the caller has, to go on from there; 0 for
    /// now.
    #[rpc(stream GetAudio { previous_timestamp_nanoseconds: previous_timestamp_ns }, serve = serve_audio, call = call_audio)]
    async fn audio(
        &self,
        codec: &str,
        duration_seconds: f32,
        previous_timestamp_ns: i64,
        extra: &Object,
    ) -> Result<Streaming<AudioChunk>>;

    /// Returns codecs, rate and channels.
    #[rpc(common::GetProperties)]
    async fn properties(&self, extra: &Object) -> Result<Properties>;
}

/// Piece of audio data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::AudioChunk)]
pub struct AudioChunk {
    /// Encoded audio.
    #[message(audio_data)]
    pub data: Bytes,
    /// Form of the data.
    #[message(audio_info)]
    pub info: Option<AudioInfo>,
    /// Time of the first sample in nanoseconds, Unix time.
    #[message(start_timestamp_nanoseconds)]
    pub start_ns: i64,
    /// Time of the last sample in nanoseconds, Unix time.
    #[message(end_timestamp_nanoseconds)]
    pub end_ns: i64,
    /// Number of the chunk in its stream, from 0.
    pub sequence: i32,
}

/// Answers the call. Clients know their own by the id that they gave it, so each chunk carries that.
async fn serve_audio(input: Arc<dyn AudioIn>, request: v1::GetAudioRequest) -> Result<Streaming<v1::GetAudioResponse>> {
    let v1::GetAudioRequest {
        name: _,
        duration_seconds,
        codec,
        request_id,
        previous_timestamp_nanoseconds,
        extra,
    } = request;
    let extra = Wire::from_wire(extra, "extra")?;
    let chunks = input
        .audio(&codec, duration_seconds, previous_timestamp_nanoseconds, &extra)
        .await?;
    Ok(Box::pin(chunks.map(move |chunk| {
        Ok(v1::GetAudioResponse {
            audio: Some(chunk?.into_wire()),
            request_id: request_id.clone(),
        })
    })))
}

async fn call_audio(
    client: &AudioInClient,
    codec: &str,
    duration_seconds: f32,
    previous_timestamp_ns: i64,
    extra: &Object,
) -> Result<Streaming<AudioChunk>> {
    let request = client.0.request(v1::GetAudioRequest {
        name: client.0.name().to_owned(),
        duration_seconds,
        codec: codec.to_owned(),
        request_id: request_id(),
        previous_timestamp_nanoseconds: previous_timestamp_ns,
        extra: extra.clone().into_wire(),
    });
    let chunks = client
        .0
        .response(async move { client.stub().get_audio(request).await })
        .await?;
    Ok(Box::pin(chunks.map(|chunk| answered(chunk?.audio, "audio"))))
}
