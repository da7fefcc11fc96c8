//! Fake services that keep nothing: `rdk:service:discovery`, `rdk:service:video` and `rdk:service:mlmodel`.

use std::time::{Duration, SystemTime};

use futures_util::stream;
use mainstay_module::{
    api::{
        discovery::Discovered,
        mlmodel::{Metadata, TensorInfo, Tensors},
        video::Chunk,
    },
    prelude::*,
};
use tokio::time::sleep;

/// Discovery that finds two components, both fakes.
#[derive(Debug)]
pub struct FakeDiscovery;

/// Video of 6 pieces.
#[derive(Debug)]
pub struct FakeVideo;

/// Model whose answers are its inputs.
#[derive(Debug)]
pub struct FakeMlModel;

impl Resource for FakeMlModel {}

/// Services that return each command as it came.
macro_rules! echo {
    ($($fake:ident),*) => {
        $(#[async_trait]
        impl Resource for $fake {
            async fn do_command(&self, command: Object) -> Result<Object> { Ok(command) }
        })*
    };
}

echo!(FakeDiscovery, FakeVideo);

/// Services without attributes.
macro_rules! plain {
    ($($fake:ident),*) => {
        $(impl FromConfig for $fake {
            type Attributes = ();
            async fn from_config(_: Config<()>, _: Dependencies) -> Result<Self> { Ok(Self) }
        })*
    };
}

plain!(FakeDiscovery, FakeVideo, FakeMlModel);

#[async_trait]
impl Discovery for FakeDiscovery {
    async fn discover(&self, _: &Object) -> Result<Vec<Discovered>> {
        let found = |name: &str, api: &str| Discovered {
            name: name.into(),
            api: format!("rdk:component:{api}"),
            model: crate::MODEL.into(),
            ..Discovered::default()
        };
        Ok(vec![found("fake1", "movement_sensor"), found("fake2", "camera")])
    }
}

#[async_trait]
impl Video for FakeVideo {
    async fn video(
        &self,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: &str,
        container: &str,
        _: &Object,
    ) -> Result<Streaming<Chunk>> {
        let container = container.to_owned();
        Ok(Box::pin(stream::unfold(0, move |n| {
            let container = container.clone();
            async move {
                if n == 6 {
                    return None;
                }
                sleep(Duration::from_millis(40)).await;
                let mut data = format!("fake-video-{n:02}\n").into_bytes();
                data.extend((0..512_u32).map(|k| (k * 17 % 251) as u8));
                Some((
                    Ok(Chunk {
                        data: data.into(),
                        container,
                    }),
                    n + 1,
                ))
            }
        })))
    }
}

#[async_trait]
impl MlModel for FakeMlModel {
    async fn infer(&self, inputs: Tensors, _: &Object) -> Result<Tensors> {
        Ok(inputs)
    }

    async fn metadata(&self, _: &Object) -> Result<Metadata> {
        let info = |name: &str| TensorInfo {
            name: name.into(),
            description: "any tensor".into(),
            data_type: "float32".into(),
            shape: vec![-1],
            ..TensorInfo::default()
        };
        Ok(Metadata {
            name: "fake".into(),
            kind: "echo".into(),
            description: "answers with its inputs".into(),
            input_info: vec![info("input")],
            output_info: vec![info("input")],
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_video_has_six_pieces_whatever_is_asked() {
        let now = Some(SystemTime::now());
        let chunks = FakeVideo
            .video(now, None, "h264", "mkv", NO_EXTRA)
            .await
            .unwrap()
            .collect::<Vec<_>>()
            .await;
        assert_eq!(chunks.len(), 6);
        let last = chunks[5].as_ref().unwrap();
        assert!(last.data.starts_with(b"fake-video-05\n\x00\x11\x22"));
        assert_eq!((last.data.len(), last.container.as_str()), (14 + 512, "mkv"));
    }
}
