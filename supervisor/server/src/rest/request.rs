//! Request of a call, made of an HTTP request: the body in JSON or as a form, the parameters of the query, those of the path.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use mainstay_model::held::{Hold, Way};
use mainstay_proto::frames::{HEADER_LEN, MAX_MESSAGE_LEN, MessageTooLong};
use mainstay_proxy::body::RequestBody;
use mainstay_proxy::status::CallError;
use prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, MethodDescriptor};
use serde_json::json;
use tonic::Status;

use super::failure::Failure;
use super::held::{Held, hold};
use super::routes::Route;
use super::{params, weight};

/// Headers that begin so are metadata of the call, as peers take them.
pub const METADATA: &str = "grpc-metadata-";

/// What belongs to this hop alone, or says how a body is packed.
const HOP: [HeaderName; 12] = [
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    EXPECT,
    HOST,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
];

/// Body of a request as it came.
#[derive(Debug)]
pub struct Text {
    bytes: BytesMut,
    hold: Hold,
}

impl Text {
    /// Its bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Reads a body.
///
/// # Errors
/// It is longer than any message, or more than may be held for its sender, or does not come.
pub async fn read(mut body: RequestBody, headers: &HeaderMap) -> Result<Text, Failure> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let mut text = Text {
        bytes: BytesMut::new(),
        hold: Hold::new(body.account().clone(), Way::Request),
    };
    if announced.unwrap_or(0) > MAX_MESSAGE_LEN {
        return Err(too_long());
    }
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk?;
        if text.bytes.len() + chunk.len() > MAX_MESSAGE_LEN {
            return Err(too_long());
        }
        text.bytes.extend_from_slice(&chunk);
        hold(&mut text.hold, text.bytes.len())?;
    }
    Ok(text)
}

fn too_long() -> Failure {
    let text = format!("the body of a request may have {MAX_MESSAGE_LEN} bytes");
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, Status::resource_exhausted(text))
}

/// Messages for a call, encoded and framed.
///
/// # Errors
/// The request does not fit the method.
pub fn build(method: &MethodDescriptor, route: &Route, parts: &Parts, mut text: Text) -> Result<RequestBody, Failure> {
    let room = weigh(&text.bytes, parts);
    if room > weight::MAX_REQUEST {
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, too_many()));
    }
    hold(&mut text.hold, room)?;
    let mut messages = Vec::new();
    let bytes = text.bytes.trim_ascii();
    if method.is_client_streaming() {
        // Each message is a text of its own; the path and the query fill the first.
        messages = read_each(&method.input(), bytes)?;
    } else {
        messages.push(message(&method.input(), &route.binding.body, &parts.headers, bytes)?);
    }
    if let Some(first) = messages.first_mut() {
        let query = params::read(parts.uri.query().unwrap_or_default()).map_err(bad)?;
        for (name, texts) in query {
            if !route.fields.iter().any(|(field, _)| *field == name) {
                params::fill(first, &name, &texts).map_err(bad)?;
            }
        }
        for (field, text) in &route.fields {
            params::fill(first, field, std::slice::from_ref(text)).map_err(bad)?;
        }
    }
    text.bytes = BytesMut::new();
    let account = text.hold.account().clone();
    let held = Held::new(framed(messages)?, text.hold)?;
    Ok(RequestBody::on_account(tonic::body::Body::new(held), account))
}

/// Room for what a body and its query become.
fn weigh(body: &[u8], parts: &Parts) -> usize {
    let of_body = match is_form(&parts.headers, body.trim_ascii()) {
        true => weight::of_form(body),
        false => weight::of_json(body),
    };
    of_body + parts.uri.query().map_or(0, |query| weight::of_form(query.as_bytes()))
}

/// Whether a body is a form; what begins like JSON is JSON, because `curl -d` says that everything is a form.
fn is_form(headers: &HeaderMap, body: &[u8]) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    content_type.starts_with(b"application/x-www-form-urlencoded") && !matches!(body.first(), Some(b'{' | b'['))
}

/// Messages that are one after the other. Their ends are found in one pass over the whole.
fn read_each(descriptor: &MessageDescriptor, bytes: &[u8]) -> Result<Vec<DynamicMessage>, Status> {
    let mut texts = serde_json::Deserializer::from_slice(bytes).into_iter::<serde::de::IgnoredAny>();
    let (mut messages, mut start) = (Vec::new(), 0);
    while let Some(text) = texts.next() {
        text.map_err(|error| unfit(descriptor, &error))?;
        let text = bytes.get(start..texts.byte_offset()).unwrap_or_default();
        messages.push(read_json(descriptor, &mut serde_json::Deserializer::from_slice(text))?);
        start = texts.byte_offset();
    }
    Ok(messages)
}

/// Messages as a call sends them, each with its length in front.
fn framed(messages: Vec<DynamicMessage>) -> Result<Bytes, Status> {
    let mut framed = BytesMut::new();
    for message in messages {
        let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
        if length as usize > MAX_MESSAGE_LEN {
            return Err(CallError::from(MessageTooLong(length)).into());
        }
        framed.reserve(HEADER_LEN + length as usize);
        framed.put_u8(0);
        framed.put_u32(length);
        message.encode_raw(&mut framed);
    }
    Ok(framed.freeze())
}

fn too_many() -> Status {
    Status::resource_exhausted("the body holds more values than are taken at once; send fewer, or send them by gRPC")
}

fn bad(error: params::BadParameter) -> Status {
    Status::invalid_argument(error.to_string())
}

/// The message that a body is. Where no annotation says that it is one, peers ignore it; here it is taken for the whole
/// message, so that what no query can say can be said.
fn message(
    descriptor: &MessageDescriptor,
    field: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<DynamicMessage, Status> {
    match body {
        [] => Ok(DynamicMessage::new(descriptor.clone())),
        body if is_form(headers, body) => {
            let text = std::str::from_utf8(body).map_err(|_| Status::invalid_argument("the form is no UTF-8"))?;
            let mut message = DynamicMessage::new(descriptor.clone());
            for (name, texts) in params::read(text).map_err(bad)? {
                params::fill(&mut message, &name, &texts).map_err(bad)?;
            }
            Ok(message)
        }
        body if matches!(field, "" | "*") => {
            let mut json = serde_json::Deserializer::from_slice(body);
            let message = read_json(descriptor, &mut json)?;
            json.end().map_err(|error| unfit(descriptor, &error))?;
            Ok(message)
        }
        body => {
            let value: serde_json::Value = serde_json::from_slice(body).map_err(|error| unfit(descriptor, &error))?;
            let options = DeserializeOptions::new().deny_unknown_fields(false);
            DynamicMessage::deserialize_with_options(descriptor.clone(), json!({ field: value }), &options)
                .map_err(|error| unfit(descriptor, &error))
        }
    }
}

fn read_json<'j>(
    descriptor: &MessageDescriptor,
    json: &mut serde_json::Deserializer<serde_json::de::SliceRead<'j>>,
) -> Result<DynamicMessage, Status> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    DynamicMessage::deserialize_with_options(descriptor.clone(), json, &options)
        .map_err(|error| unfit(descriptor, &error))
}

fn unfit(descriptor: &MessageDescriptor, error: &serde_json::Error) -> Status {
    Status::invalid_argument(format!(
        "the body must be a {} in JSON: {error}",
        descriptor.full_name()
    ))
}

/// Headers of the call that a request stands for.
pub fn headers(mut given: HeaderMap) -> HeaderMap {
    for name in HOP {
        given.remove(name);
    }
    let metadata = given.iter().filter_map(|(name, value)| {
        let name: HeaderName = name.as_str().strip_prefix(METADATA)?.parse().ok()?;
        (!HOP.contains(&name)).then(|| (name, value.clone()))
    });
    let metadata: Vec<_> = metadata.collect();
    for (name, value) in metadata {
        given.append(name, value);
    }
    given.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    given.insert(TE, HeaderValue::from_static("trailers"));
    given
}

#[cfg(test)]
mod tests {
    use http::{Method, Request};
    use mainstay_proto::viam::component::audioout::v1::PlayStreamRequest;
    use prost_reflect::SerializeOptions;

    use super::*;
    use crate::rest::routes;
    use crate::rest::schemas::Schemas;

    /// Bodies of requests that say what they are.
    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";

    /// Messages that a request becomes, encoded, and their type; or the error.
    async fn built(verb: Method, uri: &str, kind: &str, body: &str) -> Result<(Vec<Bytes>, MessageDescriptor), String> {
        let request = Request::builder().method(verb).uri(uri).header(CONTENT_TYPE, kind);
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let route = routes::find(&[], &parts.method, parts.uri.path()).expect("a route");
        let method = Schemas::default().method(&route).expect("known");
        let body = tonic::body::Body::new(http_body_util::Full::from(body.to_owned()));
        let said = |failure: Failure| format!("{failure:?}");
        let text = read(body.into(), &parts.headers).await.map_err(said)?;
        let mut body = build(&method, &route, &parts, text).map_err(said)?;
        let mut all = BytesMut::new();
        while let Some(chunk) = body.chunk().await {
            all.extend_from_slice(&chunk.expect("it does not break off"));
        }
        let mut messages = Vec::new();
        while !all.is_empty() {
            let header = all.split_to(HEADER_LEN);
            let length = mainstay_proto::frames::length_of(header[..].try_into().expect("long enough"));
            messages.push(all.split_to(length as usize).freeze());
        }
        Ok((messages, method.input()))
    }

    async fn json(verb: Method, uri: &str, kind: &str, body: &str) -> Result<String, String> {
        let (messages, input) = built(verb, uri, kind, body).await?;
        let message = DynamicMessage::decode(input, messages[0].clone()).expect("a message");
        let options = SerializeOptions::new().use_proto_field_name(true);
        let json = message.serialize_with_options(serde_json::value::Serializer, &options);
        Ok(json.expect("it has a form in JSON").to_string())
    }

    #[tokio::test]
    async fn body_query_and_path_fill_one_message_and_the_path_counts_most() {
        let power = "/api/v1/component/motor/left/power";
        for (uri, kind, body, expected) in [
            (power, JSON, "", r#"{"name":"left"}"#),
            (power, JSON, " \n", r#"{"name":"left"}"#),
            (
                "/api/v1/component/motor/far%3Aleft/power?power_pct=0.5&name=right",
                JSON,
                "",
                r#"{"name":"far:left","power_pct":0.5}"#,
            ),
            (
                power,
                JSON,
                r#"{"powerPct":1,"name":"right","unknown":{}}"#,
                r#"{"name":"left","power_pct":1.0}"#,
            ),
            (power, FORM, r#"{"power_pct":1}"#, r#"{"name":"left","power_pct":1.0}"#),
            (power, FORM, "power_pct=1&unknown", r#"{"name":"left","power_pct":1.0}"#),
            (
                "/api/v1/component/motor/left/power?power_pct=0.5",
                JSON,
                r#"{"power_pct":1,"extra":{"a":[null]}}"#,
                r#"{"name":"left","power_pct":0.5,"extra":{"a":[null]}}"#,
            ),
        ] {
            let built = json(Method::PUT, uri, kind, body).await;
            assert_eq!(built.as_deref(), Ok(expected), "{uri} {body}");
        }
        for (uri, body, expected) in [
            (
                power,
                "{",
                "the body must be a viam.component.motor.v1.SetPowerRequest in JSON: EOF",
            ),
            (power, "{} {}", "trailing characters"),
            (
                power,
                r#"{"power_pct":"much"}"#,
                "invalid float literal at line 1 column 19",
            ),
            (power, "[1]", "invalid type"),
            (
                "/api/v1/component/motor/left/power?power_pct=x",
                "",
                "parameter `power_pct` is `x`",
            ),
        ] {
            let error = json(Method::PUT, uri, JSON, body).await.expect_err("it does not fit");
            assert!(
                error.contains(expected) && error.contains("400"),
                "{uri} {body}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn a_stream_of_requests_is_texts_one_after_the_other() {
        let path = "/api/v1/component/audioout/play_stream";
        let bodies = "{\"init\":{\"name\":\"horn\"}}\n{\"audio_chunk\":{\"audio_data\":\"AAE=\"}} {}";
        let (messages, _) = built(Method::POST, path, JSON, bodies).await.expect("it fits");
        let messages = messages
            .into_iter()
            .map(|message| PlayStreamRequest::decode(message).expect("one"));
        let messages: Vec<_> = messages.collect();
        assert_eq!(messages.len(), 3);
        assert!(format!("{:?}", messages[0]).contains("horn"), "{messages:?}");
        assert!(built(Method::POST, path, JSON, "{},{}").await.is_err());
    }

    #[tokio::test]
    async fn too_much_is_refused() {
        let path = "/api/v1/component/motor/left/do_command";
        let values = format!("{{\"command\":{{\"a\":[{}1]}}}}", "1,".repeat(55_000));
        let error = json(Method::POST, path, JSON, &values).await.expect_err("too many");
        assert!(error.contains("413") && error.contains("more values"), "{error}");
        let escaped = format!("command={{\"a\":[{}1]}}", "1%2C".repeat(55_000));
        let quoted = format!("\"&command={{\"a\":[{}1]}}", "1,".repeat(55_000));
        for form in [escaped, quoted, "a&".repeat(55_000)] {
            let error = json(Method::POST, path, FORM, &form).await.expect_err("too many");
            assert!(error.contains("413") && error.contains("more values"), "{error}");
        }
        let error = json(Method::POST, path, FORM, &"a&".repeat(1001))
            .await
            .expect_err("too many");
        assert!(error.contains("400") && error.contains("1000 parameters"), "{error}");
        for open in ["[", "{\"a\":"] {
            let deep = format!("{{\"command\":{{\"a\":{}", open.repeat(50_000));
            let error = json(Method::POST, path, JSON, &deep).await.expect_err("too deep");
            assert!(
                error.contains("400") && error.contains("recursion limit exceeded"),
                "{error}"
            );
        }
        let long = format!("{{\"command\":{{\"a\":\"{}\"}}}}", "a".repeat(MAX_MESSAGE_LEN));
        let error = json(Method::POST, path, JSON, &long).await.expect_err("too long");
        assert!(error.contains("413") && error.contains("33554432 bytes"), "{error}");
    }

    #[test]
    fn metadata_goes_along_and_what_belongs_to_this_hop_does_not() {
        let given = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            HeaderMap::from_iter(pairs.iter().map(pair))
        };
        let made = headers(given(&[
            ("host", "rover"),
            ("authorization", "Bearer x"),
            ("content-type", "application/json"),
            ("content-length", "7"),
            ("accept-encoding", "gzip"),
            ("grpc-encoding", "gzip"),
            ("grpc-timeout", "1S"),
            ("grpc-metadata-viam-sid", "7"),
            ("grpc-metadata-grpc-encoding", "gzip"),
            ("grpc-metadata-", "x"),
        ]));
        for (name, value) in [
            ("authorization", Some("Bearer x")),
            ("grpc-timeout", Some("1S")),
            ("viam-sid", Some("7")),
            ("content-type", Some("application/grpc")),
            ("te", Some("trailers")),
            ("content-length", None),
            ("accept-encoding", None),
            ("grpc-encoding", None),
            ("host", None),
        ] {
            assert_eq!(
                made.get(name).map(HeaderValue::as_bytes),
                value.map(str::as_bytes),
                "{name}"
            );
        }
    }
}
