//! Fake `rdk:component:audio_in` and `rdk:component:audio_out`: silence, and nothing that hears it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream;
use mainstay_module::{
    api::audio_in::{AudioChunk, AudioInfo, Properties},
    prelude::*,
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::numbers::whole;

const CODEC: &str = "pcm16";
/// Bytes of one sample.
const SAMPLE: usize = 2;
const CHUNK: Duration = Duration::from_millis(100);

/// Attributes of [`FakeAudioIn`].
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// Samples per second.
    #[serde(deserialize_with = "whole")]
    pub sample_rate: i64,
    /// Number of channels.
    #[serde(deserialize_with = "whole")]
    pub num_channels: i64,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            sample_rate: 44_100,
            num_channels: 1,
        }
    }
}

impl Attributes {
    fn info(&self) -> Result<AudioInfo> {
        let positive = |name: &str, value: i64| match i32::try_from(value) {
            Ok(value) if value > 0 => Ok(value),
            _ => Err(Error::invalid_argument(format_args!(
                "{name} must be greater than 0 if provided, got {value}"
            ))),
        };
        Ok(AudioInfo {
            codec: CODEC.into(),
            sample_rate_hz: positive("sample_rate", self.sample_rate)?,
            num_channels: positive("num_channels", self.num_channels)?,
        })
    }
}

/// Microphone that hears nothing, a tenth of a second at a time.
#[derive(Debug)]
pub struct FakeAudioIn(AudioInfo);

/// Loudspeaker that takes as long as the sound would.
#[derive(Debug)]
pub struct FakeAudioOut;

impl Resource for FakeAudioIn {}
impl Resource for FakeAudioOut {}

impl FromConfig for FakeAudioIn {
    type Attributes = Attributes;

    fn validate(config: &Config<Attributes>) -> Result<DependencySpec> {
        config.attributes.info()?;
        Ok(DependencySpec::none())
    }

    async fn from_config(config: Config<Attributes>, _: Dependencies) -> Result<Self> {
        Ok(Self(config.attributes.info()?))
    }
}

impl FromConfig for FakeAudioOut {
    type Attributes = ();

    async fn from_config(_: Config<()>, _: Dependencies) -> Result<Self> {
        Ok(Self)
    }
}

#[async_trait]
impl AudioIn for FakeAudioIn {
    async fn audio(
        &self,
        _: &str,
        duration_seconds: f32,
        previous_timestamp_ns: i64,
        _: &Object,
    ) -> Result<Streaming<AudioChunk>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let begin = match previous_timestamp_ns {
            0 => i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
            previous => previous,
        };
        // As many whole chunks as cover the time; without a time there is no end.
        let count = if duration_seconds > 0.0 {
            (f64::from(duration_seconds) / CHUNK.as_secs_f64() - 1e-6).ceil() as u64
        } else {
            u64::MAX
        };
        let info = self.0.clone();
        let samples = usize::try_from(info.sample_rate_hz / 10).unwrap_or_default();
        let channels = usize::try_from(info.num_channels).unwrap_or_default();
        let silence = Bytes::from(vec![0; samples * channels * SAMPLE]);
        let start = Instant::now();
        let length = CHUNK.as_nanos() as i64;
        Ok(Box::pin(stream::unfold(0_u64, move |n| {
            let (data, info) = (silence.clone(), Some(info.clone()));
            async move {
                if n >= count {
                    return None;
                }
                sleep_until(start + CHUNK * u32::try_from(n + 1).unwrap_or(u32::MAX)).await;
                let start_ns = begin.saturating_add(length.saturating_mul(n as i64));
                let end_ns = start_ns.saturating_add(length);
                let chunk = AudioChunk {
                    data,
                    info,
                    start_ns,
                    end_ns,
                    sequence: n as i32,
                };
                Some((Ok(chunk), n + 1))
            }
        })))
    }

    async fn properties(&self, _: &Object) -> Result<Properties> {
        let AudioInfo {
            codec,
            sample_rate_hz,
            num_channels,
        } = self.0.clone();
        Ok(Properties {
            supported_codecs: vec![codec],
            sample_rate_hz,
            num_channels,
        })
    }
}

#[async_trait]
impl AudioOut for FakeAudioOut {
    async fn play(&self, data: Bytes, info: Option<AudioInfo>, _: &Object) -> Result<()> {
        if data.is_empty() {
            return Err(Error::unknown("no audio data provided"));
        }
        let info = info.ok_or_else(|| Error::unknown("audio info is required"))?;
        if info.codec != CODEC {
            let codec = info.codec;
            return Err(Error::unknown(format_args!(
                "codec {codec} not supported, only pcm16 is supported"
            )));
        }
        if info.sample_rate_hz <= 0 || info.num_channels <= 0 {
            return Err(Error::unknown(
                "invalid audio info, sample rate and num channels must be above zero",
            ));
        }
        let samples = data.len() as f64 / SAMPLE as f64 / f64::from(info.num_channels);
        sleep(Duration::from_secs_f64(samples / f64::from(info.sample_rate_hz))).await;
        Ok(())
    }

    async fn properties(&self, _: &Object) -> Result<Properties> {
        Ok(Properties {
            supported_codecs: vec![CODEC.into()],
            sample_rate_hz: 44_100,
            num_channels: 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_comes_in_whole_chunks_and_goes_on_where_it_was_left() {
        let config = Config::new(
            "ear",
            Attributes {
                sample_rate: 8000,
                num_channels: 2,
            },
        );
        let ear = FakeAudioIn::from_config(config, Dependencies::none()).await.unwrap();
        for (seconds, chunks) in [(0.35, 4), (0.1, 1), (1.0, 10)] {
            let start = Instant::now();
            let all: Vec<_> = ear.audio("opus", seconds, 5, NO_EXTRA).await.unwrap().collect().await;
            assert_eq!(
                (all.len(), start.elapsed()),
                (chunks, CHUNK * chunks as u32),
                "{seconds}"
            );
            let last = all[chunks - 1].as_ref().unwrap();
            assert_eq!(last.start_ns, 5 + 100_000_000 * (chunks as i64 - 1));
            assert_eq!((last.sequence, last.data.len()), (chunks as i32 - 1, 800 * 2 * 2));
        }
        let endless = ear.audio("", 0.0, 0, NO_EXTRA).await.unwrap();
        assert_eq!(endless.take(50).count().await, 50);
    }

    #[tokio::test(start_paused = true)]
    async fn playing_takes_as_long_as_the_sound_and_says_what_it_cannot_play() {
        let info = |codec: &str, rate| {
            Some(AudioInfo {
                codec: codec.into(),
                sample_rate_hz: rate,
                num_channels: 2,
            })
        };
        let sound = Bytes::from(vec![0; 8000 * 2 * 2]);
        let start = Instant::now();
        FakeAudioOut
            .play(sound.clone(), info("pcm16", 8000), NO_EXTRA)
            .await
            .unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        for (data, info, text) in [
            (Bytes::new(), None, "no audio data provided"),
            (sound.clone(), None, "audio info is required"),
            (
                sound.clone(),
                info("mp3", 8000),
                "codec mp3 not supported, only pcm16 is supported",
            ),
            (
                sound,
                info("pcm16", 0),
                "invalid audio info, sample rate and num channels must be above zero",
            ),
        ] {
            assert_eq!(
                FakeAudioOut.play(data, info, NO_EXTRA).await.unwrap_err().message(),
                text
            );
        }
    }

    #[test]
    fn a_rate_of_nothing_is_refused() {
        let config = Config::new(
            "ear",
            Attributes {
                sample_rate: -1,
                num_channels: 1,
            },
        );
        let error = FakeAudioIn::validate(&config).unwrap_err();
        assert_eq!(
            error.message(),
            "sample_rate must be greater than 0 if provided, got -1"
        );
    }
}
