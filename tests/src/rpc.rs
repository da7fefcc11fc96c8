//! gRPC calls of tests: by path and bytes, or typed by the generated clients.

use std::path::Path;

use bytes::Bytes;
use http::Uri;
use mainstay_proto::raw::RawCodec;
use prost::Message;
use serde_json::Value;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

/// Creates a channel to a UNIX socket, which connects at the first call.
pub fn unix(socket: impl AsRef<Path>) -> Channel {
    // Calls have an origin of their own: the URI of the socket is for the connector.
    Endpoint::from(Uri::from(hyperlocal::Uri::new(socket, "/")))
        .origin(Uri::from_static("http://localhost"))
        .connect_with_connector_lazy(hyperlocal::UnixConnector)
}

/// Makes a unary call by its path; returns the response with its headers and trailers.
///
/// # Errors
/// The server's status, or UNAVAILABLE without a server.
pub async fn call_raw(channel: Channel, path: &str, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let path = path
        .parse()
        .map_err(|_| Status::invalid_argument(format!("`{path}` is no path")))?;
    grpc.unary(request, path, RawCodec).await
}

/// Makes a unary call with typed messages.
///
/// # Errors
/// As [`call_raw`], and INTERNAL if the response cannot be decoded.
pub async fn call<Q: Message, A: Message + Default>(channel: Channel, path: &str, request: &Q) -> Result<A, Status> {
    let answer = call_raw(channel, path, Request::new(request.encode_to_vec().into())).await?;
    A::decode(answer.into_inner()).map_err(|error| Status::internal(format!("unreadable answer to {path}: {error}")))
}

/// Formats a status as code and text.
pub fn code_and_text(status: &Status) -> (Code, &str) {
    (status.code(), status.message())
}

/// Converts JSON to a protobuf Struct; anything but an object becomes an empty one.
pub fn to_struct(value: &Value) -> prost_types::Struct {
    let fields = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), to_value(value)))
        .collect();
    prost_types::Struct { fields }
}

fn to_value(value: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or(f64::NAN)),
        Value::String(value) => Kind::StringValue(value.clone()),
        Value::Array(values) => Kind::ListValue(prost_types::ListValue {
            values: values.iter().map(to_value).collect(),
        }),
        Value::Object(_) => Kind::StructValue(to_struct(value)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// Converts a protobuf Struct to JSON.
pub fn from_struct(value: &prost_types::Struct) -> Value {
    Value::Object(
        value
            .fields
            .iter()
            .map(|(key, value)| (key.clone(), from_value(value)))
            .collect(),
    )
}

/// Converts a protobuf Value to JSON.
pub fn from_value(value: &prost_types::Value) -> Value {
    use prost_types::value::Kind;
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => (*value).into(),
        Some(Kind::NumberValue(value)) => (*value).into(),
        Some(Kind::StringValue(value)) => value.clone().into(),
        Some(Kind::ListValue(list)) => list.values.iter().map(from_value).collect(),
        Some(Kind::StructValue(value)) => from_struct(value),
    }
}
