//! Form of audio data, and properties of audio inputs and outputs.

use mainstay_proto::viam::common::v1 as common;

use crate::wire::Message;

/// Form of audio data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(common::AudioInfo)]
pub struct AudioInfo {
    /// `pcm16`, `pcm32`, `pcm32_float`, `opus`, `aac`, `mp3` or `flac`.
    pub codec: String,
    /// Samples per second of each channel.
    pub sample_rate_hz: i32,
    /// Number of channels.
    pub num_channels: i32,
}

/// What an audio input or output can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(common::GetPropertiesResponse)]
pub struct Properties {
    /// Codecs, as in [`AudioInfo::codec`].
    pub supported_codecs: Vec<String>,
    /// Samples per second of each channel.
    pub sample_rate_hz: i32,
    /// Number of channels.
    pub num_channels: i32,
}
