//! Every kind of call passes as it is, and what goes with it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Response;
use mainstay_proto::viam::component::camera::v1::GetImagesResponse;
use mainstay_proto::viam::component::testecho::v1::test_echo_service_client::TestEchoServiceClient;
use mainstay_proto::viam::component::testecho::v1::test_echo_service_server::{TestEchoService, TestEchoServiceServer};
use mainstay_proto::viam::component::testecho::v1::{
    EchoBiDiRequest, EchoBiDiResponse, EchoMultipleRequest, EchoMultipleResponse, EchoRequest, EchoResponse,
    StopRequest, StopResponse,
};
use prost::Message as _;
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::codegen::{BoxStream, Service};
use tonic::{Code, Request, Status, Streaming};

use super::world;
use super::world::{ECHO, Fixture, OPID, answer, message, named, ok_trailers, read_all, soon};
use crate::body::CallBody;
use crate::connection::serve_connection;
use crate::upstream::Upstream;

struct Echo;

/// As long as modules' texts get, and no ASCII: it fills several frames of headers.
fn long_text() -> String {
    "das fällt aus. ".repeat(400) + &"ü".repeat(3000)
}

#[tonic::async_trait]
impl TestEchoService for Echo {
    async fn echo(&self, request: Request<EchoRequest>) -> Result<tonic::Response<EchoResponse>, Status> {
        match request.into_inner().message {
            message if message == "fail" => Err(Status::new(Code::DataLoss, long_text())),
            message => Ok(tonic::Response::new(EchoResponse { message })),
        }
    }

    type EchoMultipleStream = BoxStream<EchoMultipleResponse>;

    async fn echo_multiple(
        &self,
        request: Request<EchoMultipleRequest>,
    ) -> Result<tonic::Response<Self::EchoMultipleStream>, Status> {
        let letters: Vec<_> = request.into_inner().message.chars().map(String::from).collect();
        let letters = letters.into_iter().map(|message| Ok(EchoMultipleResponse { message }));
        Ok(tonic::Response::new(Box::pin(tokio_stream::iter(letters))))
    }

    type EchoBiDiStream = BoxStream<EchoBiDiResponse>;

    async fn echo_bi_di(
        &self,
        request: Request<Streaming<EchoBiDiRequest>>,
    ) -> Result<tonic::Response<Self::EchoBiDiStream>, Status> {
        let echo = request
            .into_inner()
            .map(|request| request.map(|r| EchoBiDiResponse { message: r.message }));
        Ok(tonic::Response::new(Box::pin(echo)))
    }

    async fn stop(&self, _: Request<StopRequest>) -> Result<tonic::Response<StopResponse>, Status> {
        Ok(tonic::Response::new(StopResponse {}))
    }
}

/// A module made with tonic, on the same connection code as the core's own doors.
async fn tonic_module(listener: UnixListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let server = TestEchoServiceServer::new(Echo)
            .max_decoding_message_size(1 << 25)
            .max_encoding_message_size(1 << 25);
        let service = move |request: http::Request<_>| {
            let mut server = server.clone();
            async move {
                server
                    .call(request)
                    .await
                    .unwrap_or_else(|never| match never {})
                    .map(CallBody::from)
            }
        };
        connections.spawn(serve_connection(
            stream,
            service,
            Arc::default(),
            CancellationToken::new(),
        ));
    }
}

async fn client() -> (Fixture, TestEchoServiceClient<Upstream>) {
    let world = Fixture::with_module(tonic_module).await;
    let upstream = Upstream::connect_tcp_to("core", world.address).await.unwrap();
    (
        world,
        TestEchoServiceClient::new(upstream)
            .max_decoding_message_size(1 << 25)
            .max_encoding_message_size(1 << 25),
    )
}

#[tokio::test]
async fn unary_calls_of_every_size_pass() {
    let (world, mut client) = client().await;
    for size in [0, 1, 100, 16_379, 16_384, 65_531, 70_000, 1 << 20, 8 << 20] {
        let message = "x".repeat(size);
        let request = EchoRequest {
            name: "e".into(),
            message: message.clone(),
        };
        let response = soon(client.echo(request)).await.unwrap();
        assert_eq!(response.metadata().get("opid").unwrap(), OPID);
        assert!(response.into_inner().message == message, "{size}");
    }
    world::until("all calls are over", || world.kept() == 0).await;
}

#[tokio::test]
async fn a_status_alone_reaches_its_caller_with_the_content_type_that_its_module_left_out() {
    let world = Fixture::new(|_request, mut respond| async move {
        // As grpclib answers an unknown method.
        let response = Response::builder()
            .header("grpc-status", "12")
            .header("grpc-message", "Method not found");
        respond.send_response(response.body(()).unwrap(), true).unwrap();
    })
    .await;
    let got = world.client().await.call(ECHO, &[], named(1)).await;
    assert_eq!(got.headers["content-type"], "application/grpc");
    assert_eq!(got.status(), (12, "Method not found".to_owned()));
    assert!(got.body.is_empty() && got.trailers.is_empty(), "{got:?}");
}

#[tokio::test]
async fn pictures_of_a_module_that_knows_no_types_get_them_and_a_modern_module_is_looked_at_once() {
    // An `Image` with its format and a picture; the same with its type.
    let image = |typed: bool| {
        let picture = [&b"\x89PNG\r\n\x1a\n"[..], &[7; 300_000]].concat();
        let mut image = b"\x0a\x05front\x10\x03\x1a".to_vec();
        prost::encoding::encode_varint(picture.len() as u64, &mut image);
        image.extend(picture);
        if typed {
            image.extend(b"\x22\x07image/x");
        }
        let mut images = b"\x0a".to_vec();
        prost::encoding::encode_varint(image.len() as u64, &mut images);
        images.extend(image);
        message(&images)
    };
    // What the module answers, call by call, and the type that its caller sees.
    let stories: [&[(bool, &str)]; 2] = [
        &[(false, "image/jpeg"), (true, "image/x"), (false, "image/jpeg")],
        // Nobody looks any more.
        &[(true, "image/x"), (false, "")],
    ];
    for story in stories {
        let answers: Vec<_> = story.iter().map(|(typed, _)| image(*typed)).collect();
        let answers = Arc::new(Mutex::new(answers.into_iter()));
        let world = Fixture::new(move |_request, mut respond| {
            let bytes = answers.lock().unwrap().next().unwrap();
            async move {
                let mut stream = answer(&mut respond);
                world::send_all(&mut stream, bytes).await.unwrap();
                stream.send_trailers(ok_trailers()).unwrap();
            }
        })
        .await;
        let mut client = world.client().await;
        for (_, wanted) in story {
            let path = "/viam.component.camera.v1.CameraService/GetImages";
            let got = client.call(path, &[], named(1)).await;
            assert_eq!(got.status().0, 0);
            let images = GetImagesResponse::decode(&got.body[5..]).unwrap().images;
            assert_eq!((images.len(), images[0].image.len()), (1, 300_008));
            assert_eq!(images[0].mime_type, *wanted);
        }
        world::until("all calls are over", || world.kept() == 0).await;
    }
}

#[tokio::test]
async fn a_modules_error_passes_unchanged() {
    let (_world, mut client) = client().await;
    let request = EchoRequest {
        name: "e".into(),
        message: "fail".into(),
    };
    let status = soon(client.echo(request)).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::DataLoss, long_text().as_str())
    );
    assert_eq!(status.metadata().get("opid").unwrap(), OPID);
}

#[tokio::test]
async fn server_streams_and_both_way_streams_pass_message_by_message() {
    let (_world, mut client) = client().await;
    let request = EchoMultipleRequest {
        name: "e".into(),
        message: "abc".into(),
    };
    let letters = soon(client.echo_multiple(request)).await.unwrap().into_inner();
    let letters: Vec<_> = soon(letters.map(|letter| letter.unwrap().message).collect()).await;
    assert_eq!(letters, ["a", "b", "c"]);

    let (send, receive) = tokio::sync::mpsc::channel(1);
    let say = |message: &str| EchoBiDiRequest {
        name: "e".into(),
        message: message.into(),
    };
    send.send(say("first")).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(receive);
    let mut answers = soon(client.echo_bi_di(requests)).await.unwrap().into_inner();
    assert_eq!(soon(answers.message()).await.unwrap().unwrap().message, "first");
    // Nothing waits for the end of the stream.
    send.send(say("second")).await.unwrap();
    assert_eq!(soon(answers.message()).await.unwrap().unwrap().message, "second");
    drop(send);
    assert!(soon(answers.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_client_stream_reaches_its_module_whole() {
    let world = Fixture::new(|request, mut respond| async move {
        let all = read_all(&mut request.into_body()).await.unwrap();
        let mut stream = answer(&mut respond);
        stream
            .send_data(message(all.len().to_string().as_bytes()), false)
            .unwrap();
        stream.send_trailers(ok_trailers()).unwrap();
    })
    .await;
    let mut requests = named(10).to_vec();
    for size in [0, 5, 70_000] {
        requests.extend(message(&vec![1; size]));
    }
    let got = world.client().await.call(ECHO, &[], requests.clone().into()).await;
    assert_eq!(got.body, message(requests.len().to_string().as_bytes()));
    assert_eq!(got.status().0, 0);
}

#[tokio::test]
async fn a_module_sees_the_metadata_of_the_list_and_the_caller_sees_all_of_the_modules() {
    let seen = Arc::new(Mutex::new(None));
    let sink = Arc::clone(&seen);
    let world = Fixture::new(move |request, mut respond| {
        *sink.lock().unwrap() = Some((request.uri().clone(), request.headers().clone()));
        async move {
            let response = Response::builder()
                .header("content-type", "application/grpc")
                .header("opid", "another")
                .header("viam-smrn", "rdk:component:base/b");
            let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
            let mut trailers = ok_trailers();
            trailers.insert("grpc-status-details-bin", "AAEC".parse().unwrap());
            trailers.insert("my-trailer", "1".parse().unwrap());
            stream.send_data(message(b""), false).unwrap();
            stream.send_trailers(trailers).unwrap();
        }
    })
    .await;
    let sent = [
        ("authorization", "Bearer secret"),
        ("viam-sid", "secret"),
        ("my-key", "v"),
        ("viam_client", "python;v0.85.1;v0.1.601"),
        ("viam-metadata-a", "b"),
        ("grpc-timeout", "20S"),
    ];
    let got = world.client().await.call(ECHO, &sent, named(1)).await;
    assert_eq!(got.headers["opid"], OPID);
    assert_eq!(got.headers["viam-smrn"], "rdk:component:base/b");
    assert_eq!(
        (&got.trailers["my-trailer"], &got.trailers["grpc-status-details-bin"]),
        (&"1".parse().unwrap(), &"AAEC".parse().unwrap())
    );
    let (uri, headers) = seen.lock().unwrap().take().unwrap();
    assert_eq!((uri.path(), uri.authority().unwrap().as_str()), (ECHO, "localhost"));
    let mut keys: Vec<_> = headers.keys().map(|key| key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "content-type",
            "grpc-timeout",
            "opid",
            "te",
            "viam-metadata-a",
            "viam_client"
        ]
    );
    let left = crate::deadline::parse(headers["grpc-timeout"].as_bytes())
        .unwrap()
        .as_secs_f64();
    assert!(left <= 20.0 && left > 5.0, "{left}");
}

#[tokio::test]
async fn bad_requests_are_refused_and_the_connection_goes_on() {
    let world = Fixture::new(world::echo).await;
    let mut client = world.client().await;
    let too_long = "grpc: received message larger than max (33554433 vs. 33554432)";
    let cases = [
        (Bytes::new(), 3, "EOF"),
        (named(1).slice(..6), 3, "unexpected EOF"),
        (
            message(b""),
            3,
            "no node found with api rdk:component:testecho and name ",
        ),
        (Bytes::from_static(&[0, 2, 0, 0, 1]), 8, too_long),
    ];
    for (request, code, text) in cases {
        let got = client.call(ECHO, &[], request).await;
        assert_eq!(got.status(), (code, text.to_owned()));
    }
    let mut later = named(70_000).to_vec();
    later.extend([0, 2, 0, 0, 1]);
    assert_eq!(
        client.call(ECHO, &[], later.into()).await.status(),
        (8, too_long.to_owned())
    );
    let torn = named(100_000).slice(..90_000);
    assert_eq!(
        client.call(ECHO, &[], torn).await.status(),
        (3, "unexpected EOF".to_owned())
    );
    let mut call = client.open(ECHO, &[("grpc-timeout", "soon")]).await;
    let response = soon(&mut call.response).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(client.call(ECHO, &[], named(5)).await.status().0, 0);
    world::until("all calls are over", || world.kept() == 0).await;
}
