//! Example of a module with a custom API. The `.proto` file defines the API, [`ResourceApi`] binds it to a type, and the
//! service that `tonic` generates looks up its resource by name.

use std::{pin::Pin, sync::Mutex};

use futures_util::{Stream, StreamExt, stream};
use mainstay_module::{ResourceApi, Resources, Service, prelude::*};
use tonic::{Request, Response, Status, Streaming};

/// Types generated from the `.proto` file.
#[allow(missing_docs, clippy::all, unused_qualifications, reason = "generated")]
pub mod api {
    tonic::include_proto!("acme.jukebox.v1");
}

use api::{
    LoadRequest, LoadResponse, PlayRequest, PlayResponse, SingRequest, SingResponse, SongsRequest, SongsResponse,
    StopRequest, StopResponse,
    jukebox_service_server::{JukeboxService, JukeboxServiceServer, SERVICE_NAME},
};

/// Creates the module with its model.
#[must_use]
pub fn module() -> Module {
    Module::new().model::<Jukebox, Jukebox>("acme:fun:jukebox")
}

/// Jukebox. With a single model the API needs no trait: the model's type is the API.
pub struct Jukebox {
    songs: Mutex<Vec<String>>,
    playing: Mutex<Option<String>>,
}

/// Attributes of a jukebox.
#[derive(Deserialize)]
pub struct Attributes {
    songs: Vec<String>,
}

impl FromConfig for Jukebox {
    type Attributes = Attributes;

    async fn from_config(config: Config<Attributes>, _: Dependencies) -> Result<Self> {
        Ok(Self {
            songs: Mutex::new(config.attributes.songs),
            playing: Mutex::default(),
        })
    }
}

#[async_trait]
impl Resource for Jukebox {
    async fn do_command(&self, _: Object) -> Result<Object> {
        let playing = self.playing.lock().map_err(poisoned)?;
        Ok(object! { "playing" => playing.clone() })
    }
}

impl ResourceApi for Jukebox {
    const API: &'static str = "acme:component:jukebox";
    const SERVICE: &'static str = SERVICE_NAME;
    const DESCRIPTORS: &'static [u8] = include_bytes!(concat!(env!("OUT_DIR"), "/jukebox.bin"));

    fn serve(resources: Resources<Self>) -> Service {
        Service::new(JukeboxServiceServer::new(Rpc(resources)))
    }
}

/// gRPC service: looks up the jukebox of each request and calls it.
struct Rpc(Resources<Jukebox>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[async_trait]
impl JukeboxService for Rpc {
    type SongsStream = Answers<SongsResponse>;
    type SingStream = Answers<SingResponse>;

    async fn play(&self, request: Request<PlayRequest>) -> Result<Response<PlayResponse>, Status> {
        let PlayRequest { name, song } = request.into_inner();
        let seconds = self.0.get(&name)?.play(song)?;
        Ok(Response::new(PlayResponse { seconds }))
    }

    async fn songs(&self, request: Request<SongsRequest>) -> Result<Response<Self::SongsStream>, Status> {
        let songs = self.0.get(&request.into_inner().name)?.songs()?;
        let songs = songs.into_iter().map(|song| Ok(SongsResponse { song }));
        Ok(Response::new(Box::pin(stream::iter(songs))))
    }

    async fn load(&self, request: Request<Streaming<LoadRequest>>) -> Result<Response<LoadResponse>, Status> {
        let mut requests = request.into_inner();
        let mut songs = 0;
        // A machine routes the stream by its first message; the later ones may leave the name out.
        let mut jukebox = None;
        while let Some(LoadRequest { name, song }) = requests.message().await? {
            let jukebox = match &jukebox {
                Some(jukebox) => jukebox,
                None => jukebox.insert(self.0.get(&name)?),
            };
            songs = jukebox.load(song)?;
        }
        Ok(Response::new(LoadResponse { songs }))
    }

    async fn sing(&self, request: Request<Streaming<SingRequest>>) -> Result<Response<Self::SingStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("sing a line first"))?;
        self.0.get(&first.name)?;
        let lines = stream::iter([Ok(first)]).chain(requests);
        let lines = lines.map(|line| {
            Ok(SingResponse {
                line: format!("{}, la la", line?.line),
            })
        });
        Ok(Response::new(Box::pin(lines)))
    }

    async fn stop(&self, request: Request<StopRequest>) -> Result<Response<StopResponse>, Status> {
        self.0.get(&request.into_inner().name)?.stop()?;
        Ok(Response::new(StopResponse {}))
    }
}

impl Jukebox {
    fn play(&self, song: String) -> Result<u32> {
        if !self.songs()?.contains(&song) {
            return Err(Error::not_found(format_args!(
                "there is no song `{song}` in this jukebox"
            )));
        }
        let seconds = 60 + u32::try_from(song.len())?;
        *self.playing.lock().map_err(poisoned)? = Some(song);
        Ok(seconds)
    }

    fn songs(&self) -> Result<Vec<String>> {
        Ok(self.songs.lock().map_err(poisoned)?.clone())
    }

    fn load(&self, song: String) -> Result<u32> {
        let mut songs = self.songs.lock().map_err(poisoned)?;
        songs.push(song);
        Ok(u32::try_from(songs.len())?)
    }

    fn stop(&self) -> Result<()> {
        *self.playing.lock().map_err(poisoned)? = None;
        Ok(())
    }
}

fn poisoned<T>(_: T) -> Error {
    Error::internal("an earlier call panicked")
}
