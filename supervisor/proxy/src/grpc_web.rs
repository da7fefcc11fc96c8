//! gRPC-web: calls of browsers, binary or base64, made into gRPC calls and back; and what browsers ask before and after (CORS).
//!
//! Chunk by chunk, so a message of a stream leaves the moment it comes. Trailers are a last frame of the body.
//! Not `tonic-web`: there a stream that breaks off ends without a status, a text with padding in its middle is refused, and so is
//! a content type with parameters.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH, CONTENT_TYPE, ORIGIN, TE, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use tonic::Status;

use crate::body::{CallBody, RequestBody};
use crate::status::CallError;
use crate::status::trailers;

/// Content types of gRPC-web begin so.
const GRPC_WEB: &str = "application/grpc-web";
/// Flag of the frame that holds the trailers.
const TRAILERS: u8 = 0x80;

/// Content type of a gRPC-web call; `None` if it is none.
pub(crate) fn content_type(request: &Request<RequestBody>) -> Option<&HeaderValue> {
    let content_type = request.headers().get(CONTENT_TYPE)?;
    let web = content_type.as_bytes().starts_with(GRPC_WEB.as_bytes());
    (web && request.method() == Method::POST).then_some(content_type)
}

/// Answers a gRPC-web call by the gRPC call that it stands for.
pub(crate) async fn answer<F>(
    request: Request<RequestBody>,
    call: impl FnOnce(Request<RequestBody>) -> F,
) -> Response<CallBody>
where
    F: Future<Output = Response<CallBody>>,
{
    let (mut parts, body) = request.into_parts();
    let origin = parts.headers.get(ORIGIN).cloned();
    let asked = parts
        .headers
        .remove(CONTENT_TYPE)
        .unwrap_or(HeaderValue::from_static(GRPC_WEB));
    let format = asked
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix(GRPC_WEB))
        .unwrap_or_default();
    let (text, format) = match format.strip_prefix("-text") {
        Some(format) => (true, format),
        None => (false, format),
    };
    let format = if format.starts_with(['+', ';']) { format } else { "" };
    let grpc = HeaderValue::from_str(&format!("application/grpc{format}"));
    parts.headers.insert(
        CONTENT_TYPE,
        grpc.unwrap_or(HeaderValue::from_static("application/grpc")),
    );
    parts.headers.insert(TE, HeaderValue::from_static("trailers"));
    parts.headers.remove(CONTENT_LENGTH);
    let body = match text {
        false => body,
        true => RequestBody::decoded(body),
    };
    let (mut parts, body) = call(Request::from_parts(parts, body)).await.into_parts();
    // An answer without a body has its status in the head, where it stays.
    let body = match parts.headers.contains_key(Status::GRPC_STATUS) {
        true => CallBody::Empty,
        false => CallBody::Web(Box::new(WebBody {
            body,
            text,
            over: false,
        })),
    };
    parts.headers.insert(CONTENT_TYPE, asked);
    expose(&mut parts.headers);
    allow(&mut parts.headers, origin);
    Response::from_parts(parts, body)
}

/// Answer to a browser that asks whether a page may make a call; `None` if the request is no such question.
pub(crate) fn preflight(request: &Request<RequestBody>) -> Option<Response<CallBody>> {
    let asked = request.headers();
    let method = asked.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    if request.method() != Method::OPTIONS {
        return None;
    }
    let mut response = Response::new(CallBody::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
    if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    allow(headers, asked.get(ORIGIN).cloned());
    let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    headers.insert(VARY, HeaderValue::from_static(vary));
    Some(response)
}

/// Lets a page of `origin` read the answer, credentials included: whoever may call is decided by the credentials themselves.
pub(crate) fn allow(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    if let Some(origin) = origin.filter(|_| !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN)) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
}

/// Names every header to the page: it sees no other.
fn expose(headers: &mut HeaderMap) {
    let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    for name in ["grpc-status", "grpc-message"] {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names);
    }
}

/// Body of a request in base64, decoded as it comes.
pub(crate) struct Decoded {
    pub(crate) body: RequestBody,
    /// Characters that are no whole group of four yet.
    rest: Bytes,
}

impl Decoded {
    pub(crate) fn new(body: RequestBody) -> Self {
        let rest = Bytes::new();
        Self { body, rest }
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            match ready!(self.body.poll_chunk(cx)) {
                None if self.rest.is_empty() => return Poll::Ready(None),
                None => return Poll::Ready(Some(Err(not_base64()))),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                Some(Ok(chunk)) if self.rest.is_empty() => self.rest = chunk,
                Some(Ok(chunk)) => self.rest = [&self.rest[..], &chunk].concat().into(),
            }
            let whole = self.rest.split_to(self.rest.len() / 4 * 4);
            // A copy of the few that are left, so that they do not keep all.
            self.rest = Bytes::copy_from_slice(&self.rest);
            if !whole.is_empty() {
                return Poll::Ready(Some(decode(&whole).ok_or_else(not_base64)));
            }
        }
    }
}

fn not_base64() -> Status {
    Status::invalid_argument("the body of a gRPC-web text call must be base64")
}

/// Decodes whole groups. Several texts may follow each other, each with its own padding.
fn decode(text: &[u8]) -> Option<Bytes> {
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
    let padded = |group: &[u8]| group[3] == b'=';
    for part in text.as_chunks::<4>().0.split_inclusive(|group| padded(group)) {
        STANDARD.decode_vec(part.as_flattened(), &mut decoded).ok()?;
    }
    Some(decoded.into())
}

/// Body of an answer, with its trailers as the last frame.
#[derive(Debug)]
pub struct WebBody {
    body: CallBody,
    /// Base64.
    text: bool,
    over: bool,
}

impl WebBody {
    /// As [`CallBody::poll_aside`].
    pub(crate) fn poll_aside(&mut self, cx: &mut Context<'_>, kept: usize) -> Result<(), CallError> {
        self.body.poll_aside(cx, kept)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let chunk = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => {
                self.over = true;
                return Poll::Ready(None);
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(chunk) => chunk,
                Err(frame) => {
                    self.over = true;
                    trailers_frame(&frame.into_trailers().unwrap_or_default())
                }
            },
            Some(Err(status)) => {
                self.over = true;
                trailers_frame(&trailers(&status))
            }
        };
        let chunk = if self.text {
            STANDARD.encode(chunk).into()
        } else {
            chunk
        };
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

fn trailers_frame(trailers: &HeaderMap) -> Bytes {
    let mut lines = BytesMut::new();
    for (name, value) in trailers {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
    let mut frame = BytesMut::with_capacity(5 + lines.len());
    frame.put_u8(TRAILERS);
    frame.put_u32(u32::try_from(lines.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&lines);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt as _;
    use http_body_util::BodyExt as _;
    use mainstay_proto::frames::FrameScanner;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::peek::{Addressing, peek};
    use crate::status::respond;

    fn request(content_type: &str, body: &str) -> Request<RequestBody> {
        Request::post("/a.B/C")
            .header(CONTENT_TYPE, content_type)
            .header(CONTENT_LENGTH, "7")
            .header(ORIGIN, "https://page")
            .body(tonic::body::Body::new(http_body_util::Full::from(body.to_owned())).into())
            .expect("a request")
    }

    /// A service that sends its request back in two chunks, and then ends as it is told.
    async fn echo(request: Request<RequestBody>, end: Result<(), Status>) -> Response<CallBody> {
        let (parts, mut body) = request.into_parts();
        assert!(!parts.headers.contains_key(CONTENT_LENGTH));
        let mut all = Vec::new();
        while let Some(chunk) = body.chunk().await {
            match chunk {
                Ok(chunk) => all.extend_from_slice(&chunk),
                Err(status) => return respond(status),
            }
        }
        let (first, second) = all.split_at(all.len().min(1));
        let frames = [first, second].map(|part| Ok(Frame::data(Bytes::copy_from_slice(part))));
        let end = end.map(|()| Frame::trailers(trailers(&Status::ok(""))));
        let frames = futures_util::stream::iter(frames.into_iter().chain([end]));
        let mut response = Response::new(tonic::body::Body::new(http_body_util::StreamBody::new(frames)).into());
        response
            .headers_mut()
            .insert(CONTENT_TYPE, parts.headers[CONTENT_TYPE].clone());
        response
    }

    #[tokio::test]
    async fn a_call_becomes_one_of_grpc_and_its_answer_one_of_the_web() {
        let good = b"hello\x80\0\0\0\x10grpc-status: 0\r\n".as_slice();
        let broken = b"hello\x80\0\0\0\x25grpc-status: 14\r\ngrpc-message: gone\r\n".as_slice();
        for (content_type, body, end, expected) in [
            ("application/grpc-web", "hello", Ok(()), good),
            ("application/grpc-web+proto", "hello", Ok(()), good),
            ("application/grpc-web; charset=utf-8", "hello", Ok(()), good),
            (
                "application/grpc-web",
                "hello",
                Err(Status::unavailable("gone")),
                broken,
            ),
            ("application/grpc-web-text", "aGVsbG8=", Ok(()), good),
            ("application/grpc-web-text+proto", "aA==ZWxsbw==", Ok(()), good),
            (
                "application/grpc-web-text",
                "aGVsbG8=",
                Err(Status::unavailable("gone")),
                broken,
            ),
        ] {
            assert!(super::content_type(&request(content_type, "")).is_some());
            let response = answer(request(content_type, body), |request| echo(request, end)).await;
            let (parts, body) = response.into_parts();
            assert_eq!(parts.headers[CONTENT_TYPE], content_type);
            assert_eq!(parts.headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://page");
            assert_eq!(
                parts.headers[ACCESS_CONTROL_EXPOSE_HEADERS],
                "content-type, grpc-status, grpc-message"
            );
            let mut got = body.collect().await.expect("it never breaks off").to_bytes();
            if content_type.contains("text") {
                got = decode(&got).expect("base64");
            }
            assert_eq!(got, expected, "{content_type}");
        }
    }

    #[tokio::test]
    async fn a_panic_in_the_answer_ends_it_with_a_status() {
        let frames = futures_util::stream::iter([0, 1]).map(|at| match at {
            0 => Ok::<_, Status>(Frame::data(Bytes::from_static(b"hello"))),
            _ => panic!("broken"),
        });
        let body = CallBody::from(tonic::body::Body::new(http_body_util::StreamBody::new(frames)));
        let response = answer(request("application/grpc-web", ""), async |_| Response::new(body)).await;
        let got = response
            .into_body()
            .collect()
            .await
            .expect("it never breaks off")
            .to_bytes();
        assert!(got.starts_with(b"hello\x80"), "{got:?}");
        assert!(String::from_utf8_lossy(&got).contains("grpc-status: 13\r\n"), "{got:?}");
    }

    #[tokio::test]
    async fn what_is_no_base64_is_refused_in_the_head() {
        for bad in ["aGVsbG8", "a", "====", "aG=sbG8=", "aGVs\nbG8="] {
            let response = answer(request("application/grpc-web-text", bad), |request| {
                echo(request, Ok(()))
            })
            .await;
            assert_eq!(response.headers()[Status::GRPC_STATUS], "3", "{bad}");
            assert!(
                response
                    .into_body()
                    .collect()
                    .await
                    .expect("whole")
                    .to_bytes()
                    .is_empty()
            );
        }
    }

    #[test]
    fn a_page_asks_before_it_calls_and_plain_grpc_is_none_of_this() {
        let asked = Request::options("/a.B/C")
            .header(ORIGIN, "https://page")
            .header(ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(ACCESS_CONTROL_REQUEST_HEADERS, "content-type,x-grpc-web")
            .body(RequestBody::empty())
            .expect("a request");
        let response = preflight(&asked).expect("an answer");
        assert_eq!(response.status(), 204);
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_ORIGIN, "https://page"),
            (ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
            (ACCESS_CONTROL_ALLOW_METHODS, "POST"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "content-type,x-grpc-web"),
            (
                VARY,
                "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            ),
        ] {
            assert_eq!(response.headers()[name], value);
        }
        assert!(preflight(&request("application/grpc-web", "")).is_none());
        assert!(content_type(&request("application/grpc", "")).is_none());
        let mut get = request("application/grpc-web", "");
        *get.method_mut() = Method::GET;
        assert!(content_type(&get).is_none());
    }

    /// A message that names its resource, in its frame.
    fn message(size: usize) -> Vec<u8> {
        let mut message = b"\x0a\x01e\x12".to_vec();
        prost::encoding::encode_varint(size as u64, &mut message);
        message.resize(message.len() + size, b'x');
        let length = u32::try_from(message.len()).expect("short");
        [&[0][..], &length.to_be_bytes(), &message].concat()
    }

    /// Messages as a page sends them; each text has its own padding.
    fn sent(sizes: &[usize], text: bool) -> Vec<u8> {
        let messages = sizes.iter().map(|size| message(*size));
        let sent = messages.map(|message| match text {
            true => STANDARD.encode(message).into_bytes(),
            false => message,
        });
        sent.collect::<Vec<_>>().concat()
    }

    /// A change at a place: which kind, with which byte.
    type Change = (Index, u8, u8);

    fn changed(mut body: Vec<u8>, changes: &[Change]) -> Vec<u8> {
        for (at, kind, byte) in changes {
            let at = at.index(body.len() + 1);
            match kind {
                0 => body.insert(at, *byte),
                1 => body.extend_from_within(at..),
                2 => body.truncate(at),
                _ if at == body.len() => {}
                3 => body[at] = *byte,
                4 => body[at] ^= 1 << (byte % 8),
                _ => drop(body.remove(at)),
            }
        }
        body
    }

    fn in_chunks(bytes: &[u8], size: usize) -> Vec<Result<Frame<Bytes>, Status>> {
        let chunks = bytes.chunks(size);
        chunks
            .map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk))))
            .collect()
    }

    fn body(frames: Vec<Result<Frame<Bytes>, Status>>) -> tonic::body::Body {
        tonic::body::Body::new(http_body_util::StreamBody::new(futures_util::stream::iter(frames)))
    }

    /// A service that takes a request as the core does, and answers with as many bytes as it got, and these frames.
    async fn strict(request: Request<RequestBody>, end: Vec<Result<Frame<Bytes>, Status>>) -> Response<CallBody> {
        let (parts, all) = request.into_parts();
        let addressing = Addressing {
            path: &[1],
            standard_api: None,
        };
        let mut all = match peek(all, &parts.headers, addressing).await {
            Ok(peeked) => peeked.body,
            Err(status) => return respond(status),
        };
        let (mut scanner, mut held, mut length) = (FrameScanner::default(), Vec::new(), 0);
        while let Some(chunk) = all.chunk().await {
            match chunk {
                Ok(chunk) => held.extend_from_slice(&chunk),
                Err(status) => return respond(status),
            }
            let followed = scanner.follow(&held);
            if let Some(error) = followed.too_long {
                return respond(CallError::from(error));
            }
            length += followed.pass;
            held.drain(..followed.pass);
        }
        if !held.is_empty() || !scanner.at_boundary() {
            return respond(CallError::TornRequest);
        }
        let mut answer = vec![0];
        answer.extend_from_slice(&u32::try_from(length).expect("short").to_be_bytes());
        answer.resize(answer.len() + length, 7);
        Response::new(body(in_chunks(&answer, 100).into_iter().chain(end).collect()).into())
    }

    /// Status of the answer to a body that comes in chunks of so many bytes, if there is one, and how long it is.
    fn status_of<F: Future<Output = Response<CallBody>>>(
        sent: &[u8],
        text: bool,
        chunk: usize,
        call: impl FnOnce(Request<RequestBody>) -> F,
    ) -> (Option<i32>, usize) {
        let content_type = if text { "application/grpc-web-text" } else { GRPC_WEB };
        let asked = request(content_type, "").map(|_| RequestBody::from(body(in_chunks(sent, chunk))));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let answered = async {
            let (parts, body) = answer(asked, call).await.into_parts();
            (parts, body.collect().await.expect("it never breaks off").to_bytes())
        };
        let (parts, got) = runtime
            .expect("a runtime")
            .block_on(async { tokio::time::timeout(Duration::from_secs(20), answered).await })
            .expect("it ends");
        if let Some(status) = parts.headers.get(Status::GRPC_STATUS) {
            assert!(got.is_empty(), "{got:?}");
            return (status.to_str().ok().and_then(|code| code.parse().ok()), 0);
        }
        let all = got.len();
        let got = if text { decode(&got).expect("base64") } else { got };
        let mut rest = &got[..];
        while let Some((header, after)) = rest.split_first_chunk::<5>() {
            let [flag, length @ ..] = *header;
            let Some((frame, after)) = after.split_at_checked(u32::from_be_bytes(length) as usize) else {
                break;
            };
            rest = after;
            if flag == TRAILERS {
                assert!(rest.is_empty(), "trailers are the last: {got:?}");
                let text = std::str::from_utf8(frame).expect("text");
                let code = text.lines().find_map(|line| line.strip_prefix("grpc-status: "));
                return (code.and_then(|code| code.parse().ok()), all);
            }
        }
        (None, all)
    }

    fn good_end() -> Vec<Result<Frame<Bytes>, Status>> {
        vec![Ok(Frame::trailers(trailers(&Status::ok(""))))]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_becomes_of_a_body_its_answer_is_bounded_and_has_a_status(
            sizes in vec(0_usize..200, 1..4),
            changes in vec((any::<Index>(), 0_u8..6, any::<u8>()), 0..6),
            (text, chunk) in (any::<bool>(), 1_usize..60),
        ) {
            let sent = changed(sent(&sizes, text), &changes);
            let (status, length) = status_of(&sent, text, chunk, |request| strict(request, good_end()));
            prop_assert!(status.is_some() && length <= 2 * sent.len() + 200, "{status:?}, {length} bytes");
            prop_assert!(!changes.is_empty() || status == Some(0), "{status:?}");
        }

        #[test]
        fn a_body_that_is_cut_short_is_never_answered_well(
            (size, text, chunk) in (0_usize..300, any::<bool>(), 1_usize..60),
            at: Index,
        ) {
            let whole = sent(&[size], text);
            let cut = &whole[..at.index(whole.len())];
            let (status, _) = status_of(cut, text, chunk, |request| strict(request, good_end()));
            prop_assert!(status.is_some_and(|status| status != 0), "{status:?}");
        }

        #[test]
        fn an_answer_that_is_cut_short_never_ends_well(
            (size, text, chunk) in (0_usize..300, any::<bool>(), 1_usize..60),
            (at, fails) in (any::<Index>(), any::<bool>()),
        ) {
            let whole = message(size);
            let mut frames = in_chunks(&whole[..at.index(whole.len() + 1)], chunk);
            frames.extend(fails.then(|| Err(Status::unavailable("gone"))));
            let answer = Response::new(body(frames).into());
            let (status, _) = status_of(b"", text, 1, async |_| answer);
            prop_assert_ne!(status, Some(0));
            prop_assert!(!fails || at.index(whole.len() + 1) < whole.len() || status == Some(14), "{status:?}");
        }
    }
}
