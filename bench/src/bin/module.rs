//! Module under load: an echo service, and a camera whose image has the configured size.

use bytes::Bytes;
use mainstay_module::api::camera::{Image, Images};
use mainstay_module::prelude::*;
use mainstay_module::{MAX_MESSAGE_BYTES, ResourceApi, Resources, Service};
use mainstay_proto::viam::component::testecho::v1::test_echo_service_server::{
    SERVICE_NAME, TestEchoService, TestEchoServiceServer,
};
use mainstay_proto::viam::component::testecho::v1::{
    EchoBiDiRequest, EchoBiDiResponse, EchoMultipleRequest, EchoMultipleResponse, EchoRequest, EchoResponse,
    StopRequest, StopResponse,
};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

fn main() -> std::process::ExitCode {
    let module = Module::new().model::<Echo, Echo>("bench:test:echo");
    run(module.model::<dyn Camera, Frames>("bench:test:camera"))
}

struct Echo;

#[derive(Deserialize)]
struct NoAttributes {}

impl Resource for Echo {}

impl FromConfig for Echo {
    type Attributes = NoAttributes;

    async fn from_config(_: Config<NoAttributes>, _: Dependencies) -> Result<Self> {
        Ok(Self)
    }
}

impl ResourceApi for Echo {
    const API: &'static str = "rdk:component:testecho";
    const SERVICE: &'static str = SERVICE_NAME;

    fn serve(resources: Resources<Self>) -> Service {
        let service = TestEchoServiceServer::new(Rpc(resources));
        Service::new(
            service
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
    }
}

struct Rpc(Resources<Echo>);

#[async_trait]
impl TestEchoService for Rpc {
    type EchoMultipleStream = BoxStream<EchoMultipleResponse>;
    type EchoBiDiStream = BoxStream<EchoBiDiResponse>;

    async fn echo(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        let EchoRequest { name, message } = request.into_inner();
        self.0.get(&name)?;
        Ok(Response::new(EchoResponse { message }))
    }

    async fn echo_multiple(
        &self,
        request: Request<EchoMultipleRequest>,
    ) -> Result<Response<Self::EchoMultipleStream>, Status> {
        let EchoMultipleRequest { name, .. } = request.into_inner();
        self.0.get(&name)?;
        // Takes a large request and says nothing.
        Ok(Response::new(Box::pin(tokio_stream::empty())))
    }

    async fn echo_bi_di(
        &self,
        _: Request<Streaming<EchoBiDiRequest>>,
    ) -> Result<Response<Self::EchoBiDiStream>, Status> {
        Err(Status::unimplemented("it is not measured"))
    }

    async fn stop(&self, _: Request<StopRequest>) -> Result<Response<StopResponse>, Status> {
        Ok(Response::new(StopResponse {}))
    }
}

/// Camera with a constant image.
struct Frames(Bytes);

#[derive(Deserialize)]
struct CameraAttributes {
    /// CameraAttributes of the image in bytes.
    frame_bytes: usize,
}

impl Resource for Frames {}

impl FromConfig for Frames {
    type Attributes = CameraAttributes;

    async fn from_config(config: Config<CameraAttributes>, _: Dependencies) -> Result<Self> {
        Ok(Self(vec![0x5a; config.attributes.frame_bytes].into()))
    }
}

#[async_trait]
impl Camera for Frames {
    async fn images(&self, _: &[String], _: &Object) -> Result<Images> {
        let image = Image {
            mime_type: "image/jpeg".into(),
            bytes: self.0.clone(),
            ..Image::default()
        };
        Ok(Images {
            images: vec![image],
            captured_at: None,
        })
    }
}
