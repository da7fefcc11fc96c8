//! Answer to an HTTP request, made of the answer to its call.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::header::{ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame};
use mainstay_model::held::{Account, Hold, Way};
use mainstay_proto::frames::{HEADER_LEN, MAX_MESSAGE_LEN, MessageTooLong, length_of};
use mainstay_proxy::body::{CallBody, LastingBody};
use mainstay_proxy::deadline::Deadline;
use mainstay_proxy::status::CallError;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::{Code, Status};

use super::failure::{Failure, last_of_stream, respond};
use super::held::{Held, hold};
use super::json::{Json, JsonValue};
use super::request::METADATA;
use super::{fault, off_thread, weight};

/// Messages that say what they are themselves: they are sent as they are.
const RAW: &str = "google.api.HttpBody";

/// Most bytes that are read of what a plain HTTP answer says.
const MAX_TEXT: usize = 4 << 10;

/// Messages of an answer, one after the other.
#[derive(Debug)]
pub struct Messages {
    body: CallBody,
    gathered: BytesMut,
    hold: Hold,
    over: bool,
}

impl Messages {
    fn new(body: CallBody, account: Account) -> Self {
        Self {
            body,
            gathered: BytesMut::new(),
            hold: Hold::new(account, Way::Answer),
            over: false,
        }
    }

    /// The next message; `None` at a good end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            if let Some(message) = self.whole().transpose() {
                return Poll::Ready(Some(message));
            }
            if self.over {
                return Poll::Ready(None);
            }
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            let ended = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => {
                        self.gathered.extend_from_slice(&chunk);
                        hold(&mut self.hold, self.gathered.len())?;
                        continue;
                    }
                    Err(frame) => frame.into_trailers().ok().and_then(told),
                },
                Some(Err(status)) => Some(status),
                None => None,
            };
            self.over = true;
            let status = ended.unwrap_or_else(|| Status::unknown("the answer ended without a status"));
            if status.code() != Code::Ok {
                return Poll::Ready(Some(Err(status)));
            }
        }
    }

    /// The message that is there as a whole.
    fn whole(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(header) = self.gathered.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let (flag, announced) = (header[0], length_of(*header));
        let length = announced as usize;
        if flag != 0 {
            return Err(Status::internal("the answer is compressed, which was not asked for"));
        }
        if length > MAX_MESSAGE_LEN {
            return Err(CallError::from(MessageTooLong(announced)).into());
        }
        if self.gathered.len() < HEADER_LEN + length {
            self.gathered.reserve(HEADER_LEN + length - self.gathered.len());
            return Ok(None);
        }
        self.gathered.advance(HEADER_LEN);
        Ok(Some(self.gathered.split_to(length).freeze()))
    }

    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

/// Decodes a message, of which there is room for what it becomes.
fn decode(count: &mut Hold, descriptor: &MessageDescriptor, message: Bytes) -> Result<DynamicMessage, Status> {
    let room = weight::of_message(descriptor, &message);
    if room > weight::MAX_ANSWER {
        return Err(Status::resource_exhausted(
            "the answer holds more values than are written as JSON at once; ask for it by gRPC",
        ));
    }
    hold(count, room)?;
    DynamicMessage::decode(descriptor.clone(), message)
        .map_err(|error| Status::internal(format!("the answer is no {}: {error}", descriptor.full_name())))
}

/// Answer of a method that answers once. `field`: the one that is sent; empty for the whole message.
pub async fn unary(
    answer: Response<CallBody>,
    descriptor: MessageDescriptor,
    field: String,
    account: Account,
    deadline: Deadline,
) -> Response<CallBody> {
    let (parts, body) = answer.into_parts();
    let response = match ended(&parts.headers, parts.status) {
        Some(None) => Failure::from(plain(body).await).into_response(),
        Some(Some(status)) => Failure::from(status).into_response(),
        None => {
            let made = one(Messages::new(body, account), descriptor, field, deadline).await;
            made.unwrap_or_else(|status| Failure::from(status).into_response())
        }
    };
    with_metadata(response, &parts.headers)
}

async fn one(
    mut messages: Messages,
    descriptor: MessageDescriptor,
    field: String,
    deadline: Deadline,
) -> Result<Response<CallBody>, Status> {
    let message = messages
        .next()
        .await
        .unwrap_or_else(|| Err(Status::unknown("the answer has no message")))?;
    if let Some(more) = messages.next().await {
        more?;
        return Err(Status::internal("the answer has more than one message"));
    }
    off_thread(message.len(), deadline, move || {
        let message = decode(&mut messages.hold, &descriptor, message)?;
        let (bytes, content_type) = match descriptor.get_field_by_name(&field) {
            _ if descriptor.full_name() == RAW => raw(&message),
            Some(field) => (written(&JsonValue(&message.get_field(&field), &field.kind()))?, None),
            None => (written(&Json(&message))?, None),
        };
        let mut response = respond(StatusCode::OK, String::new());
        let body = Held::new(bytes, messages.hold)?;
        *response.body_mut() = tonic::body::Body::new(body).into();
        if let Some(content_type) = content_type {
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        Ok(response)
    })
    .await?
}

fn written(value: &impl serde::Serialize) -> Result<Bytes, Status> {
    let json = serde_json::to_vec(value);
    json.map(Bytes::from)
        .map_err(|error| Status::internal(format!("the answer has no form in JSON: {error}")))
}

/// A message that is sent as it is, and what it says that it is.
fn raw(message: &DynamicMessage) -> (Bytes, Option<HeaderValue>) {
    let data = message
        .get_field_by_name("data")
        .and_then(|data| data.as_bytes().cloned());
    let content_type = message.get_field_by_name("content_type");
    let content_type = content_type.and_then(|name| name.as_str().filter(|name| !name.is_empty())?.parse().ok());
    let octets = HeaderValue::from_static("application/octet-stream");
    (data.unwrap_or_default(), Some(content_type.unwrap_or(octets)))
}

/// Answer of a method whose answers are a stream: a line for each.
pub async fn stream(
    answer: Response<CallBody>,
    descriptor: MessageDescriptor,
    account: Account,
    deadline: Deadline,
) -> Response<CallBody> {
    let (parts, body) = answer.into_parts();
    let response = match ended(&parts.headers, parts.status) {
        Some(None) => Failure::from(plain(body).await).into_last_of_stream(),
        Some(Some(status)) => Failure::from(status).into_last_of_stream(),
        None => {
            let mut messages = Messages::new(body, account);
            // A status in the head is the end already: no trailers come.
            messages.over = parts.headers.contains_key(Status::GRPC_STATUS);
            let lines = Lines {
                messages,
                descriptor,
                deadline,
                line: Line::Awaited,
            };
            let mut response = respond(StatusCode::OK, String::new());
            *response.body_mut() = CallBody::Lasting(Box::new(lines));
            response
        }
    };
    with_metadata(response, &parts.headers)
}

/// Lines of a stream.
struct Lines {
    messages: Messages,
    descriptor: MessageDescriptor,
    deadline: Deadline,
    line: Line,
}

/// The next line.
enum Line {
    /// Its message has not come.
    Awaited,
    /// It is made, perhaps aside.
    Made(Pin<Box<dyn Future<Output = Result<Held, Status>> + Send>>),
    Taken(Held),
}

impl Lines {
    /// A message as a line.
    fn line(&self, message: Bytes) -> impl Future<Output = Result<Held, Status>> + Send + 'static {
        let (descriptor, account) = (self.descriptor.clone(), self.messages.hold.account().clone());
        let made = off_thread(message.len(), self.deadline, move || {
            let mut hold = Hold::new(account, Way::Answer);
            let message = decode(&mut hold, &descriptor, message)?;
            let mut line = Vec::from(written(&BTreeMap::from([("result", Json(&message))]))?);
            line.push(b'\n');
            Held::new(line.into(), hold)
        });
        caught(made.map(Result::flatten))
    }

    /// The next part of a line; `None` at the end.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            self.line = match &mut self.line {
                Line::Awaited => match ready!(self.messages.poll_next(cx)?) {
                    Some(message) => Line::Made(Box::pin(self.line(message))),
                    None => return Poll::Ready(None),
                },
                Line::Made(line) => match line.as_mut().poll(cx)? {
                    Poll::Ready(line) => {
                        // The message is gone; never more than before.
                        let _ = self.messages.hold.set(self.messages.gathered.len());
                        Line::Taken(line)
                    }
                    Poll::Pending => {
                        self.messages.body.poll_aside(cx, 0)?;
                        return Poll::Pending;
                    }
                },
                Line::Taken(line) => match line.next() {
                    Some(part) => return Poll::Ready(Some(Ok(part))),
                    None => Line::Awaited,
                },
            }
        }
    }
}

/// Work in which a panic is its error.
fn caught<T>(work: impl Future<Output = Result<T, Status>>) -> impl Future<Output = Result<T, Status>> {
    let done = AssertUnwindSafe(work).catch_unwind();
    done.map(|done| done.unwrap_or_else(|_| Err(fault())))
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let part = ready!(self.poll_part(cx)).map(|part| {
            part.unwrap_or_else(|status| {
                // Nothing comes after it.
                self.messages = Messages::new(CallBody::Empty, Account::default());
                self.messages.over = true;
                self.line = Line::Awaited;
                last_of_stream(&status).into()
            })
        });
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }
}

impl LastingBody for Lines {
    fn poll_aside(&mut self, cx: &mut Context<'_>, kept: usize) -> Result<(), CallError> {
        self.messages.body.poll_aside(cx, kept)
    }
}

/// The status that headers or trailers tell, without its details: they are not shown, and reading broken ones panics.
fn told(mut headers: HeaderMap) -> Option<Status> {
    headers.remove("grpc-status-details-bin");
    Status::from_header_map(&headers)
}

/// The status of an answer that is all in its head; `Some(None)` if that is in plain HTTP.
fn ended(headers: &HeaderMap, http: StatusCode) -> Option<Option<Status>> {
    let status = told(headers.clone());
    match status.filter(|status| status.code() != Code::Ok) {
        None if http != StatusCode::OK => Some(None),
        status => status.map(Some),
    }
}

/// What a plain HTTP answer says, which is given to a call that could not be read.
async fn plain(mut body: CallBody) -> Status {
    let mut text = Vec::new();
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        text.extend_from_slice(&frame.into_data().unwrap_or_default());
        if text.len() > MAX_TEXT {
            break;
        }
    }
    Status::invalid_argument(String::from_utf8_lossy(&text).trim())
}

/// Adds the metadata of the call's answer, as peers name it, and lets pages read it.
fn with_metadata(mut response: Response<CallBody>, given: &HeaderMap) -> Response<CallBody> {
    let mut names = Vec::new();
    for (name, value) in given {
        if *name == CONTENT_TYPE || name.as_str().starts_with("grpc-") || name.as_str().starts_with("access-control-") {
            continue;
        }
        if let Ok(name) = HeaderName::try_from(format!("{METADATA}{name}")) {
            names.push(name.as_str().to_owned());
            response.headers_mut().append(name, value.clone());
        }
    }
    if let Ok(names) = HeaderValue::from_str(&names.join(", "))
        && !names.is_empty()
    {
        response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, names);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt as _;
    use http_body_util::{BodyExt as _, StreamBody};
    use mainstay_proto::viam::component::motor::v1::GetPositionResponse;
    use mainstay_proxy::status::trailers;
    use mainstay_wire::descriptors::{built_in, pool};
    use prost::Message as _;
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

    use super::super::{LARGE, TURN};
    use super::*;

    const POSITION: &str = "viam.component.motor.v1.GetPositionResponse";

    fn position(position: f64) -> Vec<u8> {
        let message = GetPositionResponse { position }.encode_to_vec();
        let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len()).expect("short")];
        framed.extend(message);
        framed
    }

    /// An answer of gRPC, in chunks of `size` bytes.
    fn answered(bytes: &[u8], size: usize, end: Option<Status>) -> Response<CallBody> {
        let chunks = bytes
            .chunks(size)
            .map(|chunk| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(chunk))));
        let end = end.map(|status| Ok(Frame::trailers(trailers(&status))));
        let frames: Vec<_> = chunks.chain(end).collect();
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut response = Response::new(CallBody::from(tonic::body::Body::new(body)));
        response.headers_mut().insert("opid", HeaderValue::from_static("7"));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }

    fn patient() -> Deadline {
        Deadline::of(&HeaderMap::new(), None, tokio::time::Instant::now()).expect("none is given")
    }

    fn descriptor() -> MessageDescriptor {
        let types = pool(built_in(POSITION).expect("ours")).expect("they fit");
        types.get_message_by_name(POSITION).expect("there")
    }

    async fn text(response: Response<CallBody>) -> (u16, String) {
        let status = response.status().as_u16();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let body = response.into_body().collect().await.expect("it does not break off");
        (status, String::from_utf8(body.to_bytes().into()).expect("text"))
    }

    #[tokio::test]
    async fn one_answer_is_one_object_or_an_error() {
        let good = Some(Status::ok(""));
        let two = [position(1.0), position(2.0)].concat();
        let mut packed = position(1.0);
        packed[0] = 1;
        let error = |code: i32, text: &str| format!("{{\"code\":{code},\"message\":\"{text}\"}}");
        for (bytes, end, http, expected) in [
            (position(1.5), good.clone(), 200, "{\"position\":1.5}".to_owned()),
            (position(0.0), good.clone(), 200, "{}".to_owned()),
            (position(1.0), Some(Status::aborted("late")), 409, error(10, "late")),
            (Vec::new(), good.clone(), 500, error(2, "the answer has no message")),
            (Vec::new(), Some(Status::not_found("no")), 404, error(5, "no")),
            (position(1.0), None, 500, error(2, "the answer ended without a status")),
            (
                two,
                good.clone(),
                500,
                error(13, "the answer has more than one message"),
            ),
            (
                packed,
                good,
                500,
                error(13, "the answer is compressed, which was not asked for"),
            ),
        ] {
            for size in [1, 3, 100] {
                let response = answered(&bytes, size, end.clone());
                let response = unary(response, descriptor(), String::new(), Account::default(), patient()).await;
                assert_eq!(response.headers()["grpc-metadata-opid"], "7");
                assert_eq!(response.headers()[ACCESS_CONTROL_EXPOSE_HEADERS], "grpc-metadata-opid");
                assert_eq!(text(response).await, (http, expected.clone()), "{size}");
            }
        }
        let made = unary(
            answered(&position(1.5), 9, Some(Status::ok(""))),
            descriptor(),
            "position".into(),
            Account::default(),
            patient(),
        );
        assert_eq!(text(made.await).await, (200, "1.5".to_owned()));
        let told = mainstay_proxy::status::plain(StatusCode::BAD_REQUEST, "malformed grpc-timeout");
        let made = unary(told, descriptor(), String::new(), Account::default(), patient());
        assert_eq!(text(made.await).await, (400, error(3, "malformed grpc-timeout")));
    }

    /// The type of messages that say what they are, as modules bring it along.
    fn http_body() -> MessageDescriptor {
        let field = |name: &str, number, kind: Type| FieldDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            r#type: Some(kind.into()),
            label: Some(Label::Optional.into()),
            ..FieldDescriptorProto::default()
        };
        let message = DescriptorProto {
            name: Some("HttpBody".to_owned()),
            field: vec![field("content_type", 1, Type::String), field("data", 2, Type::Bytes)],
            ..DescriptorProto::default()
        };
        let file = FileDescriptorProto {
            name: Some("google/api/httpbody.proto".to_owned()),
            package: Some("google.api".to_owned()),
            message_type: vec![message],
            syntax: Some("proto3".to_owned()),
            ..FileDescriptorProto::default()
        };
        let types = pool([(file.name().to_owned(), file)].into()).expect("it makes sense");
        types.get_message_by_name(RAW).expect("there")
    }

    #[tokio::test]
    async fn what_says_what_it_is_goes_as_it_is() {
        for (message, content_type, data) in [
            (
                &b"\0\0\0\0\x12\x0a\x0aimage/jpeg\x12\x04\xff\xd8\0\x01"[..],
                "image/jpeg",
                &b"\xff\xd8\0\x01"[..],
            ),
            (b"\0\0\0\0\x03\x12\x01x", "application/octet-stream", b"x"),
        ] {
            let answer = answered(message, 4, Some(Status::ok("")));
            let made = unary(answer, http_body(), String::new(), Account::default(), patient()).await;
            assert_eq!(
                (made.status(), &made.headers()[CONTENT_TYPE]),
                (StatusCode::OK, &HeaderValue::from_static(content_type))
            );
            assert_eq!(made.into_body().collect().await.expect("whole").to_bytes(), data);
        }
    }

    #[tokio::test]
    async fn many_answers_are_lines_and_an_error_is_the_last() {
        let two = [position(1.0), position(0.0)].concat();
        let lines = "{\"result\":{\"position\":1}}\n{\"result\":{}}\n";
        let error = "{\"error\":{\"code\":14,\"message\":\"gone\"}}\n";
        let gone = Status::unavailable("gone");
        for size in [1, 7, 100] {
            let made = stream(
                answered(&two, size, Some(Status::ok(""))),
                descriptor(),
                Account::default(),
                patient(),
            );
            assert_eq!(text(made.await).await, (200, lines.to_owned()));
            let made = stream(
                answered(&two, size, Some(gone.clone())),
                descriptor(),
                Account::default(),
                patient(),
            );
            assert_eq!(text(made.await).await, (200, format!("{lines}{error}")));
        }
        // What ends well without a message may say so in its head alone.
        let mut empty = Response::new(CallBody::Empty);
        empty.headers_mut().insert("grpc-status", HeaderValue::from_static("0"));
        let made = stream(empty, descriptor(), Account::default(), patient());
        assert_eq!(text(made.await).await, (200, String::new()));
        // What fails at once says so in its head.
        let made = stream(
            mainstay_proxy::status::respond(gone),
            descriptor(),
            Account::default(),
            patient(),
        );
        assert_eq!(text(made.await).await, (503, error.to_owned()));
    }

    /// A message of so many bytes that says what it is, in its frame.
    fn large(size: usize) -> Vec<u8> {
        let mut message = vec![0x12];
        prost::encoding::encode_varint(size as u64, &mut message);
        message.resize(message.len() + size, 0);
        let length = u32::try_from(message.len()).expect("short");
        [&[0][..], &length.to_be_bytes(), &message].concat()
    }

    #[tokio::test]
    async fn a_large_line_is_made_aside_and_its_deadline_holds_meanwhile() {
        let turn = TURN.acquire().await;
        let begun = |deadline| {
            let two = [large(10), large(LARGE)].concat();
            let answer = answered(&two, LARGE, Some(Status::ok("")));
            stream(answer, http_body(), Account::default(), deadline)
        };
        let soon = Deadline::after(Some(Duration::from_millis(50)), tokio::time::Instant::now());
        let (_, lines) = text(begun(soon).await).await;
        let (first, second) = lines.split_once('\n').expect("two lines");
        assert_eq!(
            first, r#"{"result":{"data":"AAAAAAAAAAAAAA=="}}"#,
            "small ones wait for nobody"
        );
        assert!(second.starts_with(r#"{"error":{"code":4,"#), "{second}");

        let mut body = begun(patient()).await.into_body();
        assert!(body.frame().await.is_some(), "the small one");
        let waiting = tokio::time::timeout(Duration::from_millis(50), body.frame()).await;
        assert!(waiting.is_err(), "it is not its turn");
        drop(turn);
        let rest = body.collect().await.expect("it does not break off").to_bytes();
        let line: serde_json::Value = serde_json::from_slice(&rest).expect("one line");
        let data = line["result"]["data"].as_str().expect("base64");
        assert_eq!(data.len(), LARGE.div_ceil(3) * 4);
    }

    #[tokio::test]
    async fn a_panic_is_the_last_line() {
        let frames = futures_util::stream::iter([0, 1]).map(|at| match at {
            0 => Ok::<_, Status>(Frame::data(Bytes::from(position(0.0)))),
            _ => panic!("broken"),
        });
        let body = CallBody::from(tonic::body::Body::new(StreamBody::new(frames)));
        let made = stream(Response::new(body), descriptor(), Account::default(), patient());
        let (_, lines) = text(made.await).await;
        assert!(
            lines.starts_with("{\"result\":{}}\n{\"error\":{\"code\":13,"),
            "{lines}"
        );
        let broken = caught::<()>(async { panic!("broken") }).await.expect_err("an error");
        assert_eq!(broken.code(), Code::Internal);
    }

    #[tokio::test]
    async fn broken_details_of_a_status_do_no_harm() {
        let broken = || {
            let mut headers = trailers(&Status::aborted("late"));
            headers.insert("grpc-status-details-bin", HeaderValue::from_static("%%%"));
            headers
        };
        let mut in_head = Response::new(CallBody::Empty);
        *in_head.headers_mut() = broken();
        let frames = [Ok::<_, Status>(Frame::trailers(broken()))];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let in_trailers = Response::new(CallBody::from(tonic::body::Body::new(body)));
        for answer in [in_head, in_trailers] {
            let made = unary(answer, descriptor(), String::new(), Account::default(), patient()).await;
            let expected = "{\"code\":10,\"message\":\"late\"}".to_owned();
            assert_eq!(text(made).await, (409, expected));
        }
    }
}
