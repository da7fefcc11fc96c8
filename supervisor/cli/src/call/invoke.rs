//! Call with messages whose types are known only at run time, in all four kinds of streaming.

use std::time::Duration;

use bytes::Buf as _;
use futures_core::Stream;
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status, Streaming};

use super::hold::SESSION_ID;
use crate::connection::MachineConnection;

/// Starts a call, within `session` if one is given, and returns its answers as a stream, which has one item where the method does not stream.
///
/// # Errors
/// The machine cannot be reached or refuses the call before its first answer.
pub async fn start<S>(
    connection: &MachineConnection,
    method: &MethodDescriptor,
    requests: S,
    limit: Option<Duration>,
    session: Option<&MetadataValue<Ascii>>,
) -> Result<Streaming<DynamicMessage>, Status>
where
    S: Stream<Item = DynamicMessage> + Send + 'static,
{
    let mut request = Request::new(requests);
    if let Some(limit) = limit {
        request.set_timeout(limit);
    }
    if let Some(session) = session {
        request.metadata_mut().insert(SESSION_ID, session.clone());
    }
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = PathAndQuery::try_from(path).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let mut client = Grpc::new(connection.clone()).max_decoding_message_size(usize::MAX);
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(format!("the machine does not answer: {error}")))?;
    // On the wire a call without streaming is one whose streams have one message each.
    let codec = DynamicCodec(method.output());
    Ok(client.streaming(request, path, codec).await?.into_inner())
}

/// Encodes any message and decodes those of one type.
#[derive(Clone)]
struct DynamicCodec(MessageDescriptor);

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for DynamicCodec {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message
            .encode(into)
            .map_err(|error| Status::internal(format!("cannot encode the request: {error}")))
    }
}

impl Decoder for DynamicCodec {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let message = DynamicMessage::decode(self.0.clone(), bytes);
        message
            .map(Some)
            .map_err(|error| Status::internal(format!("the answer is no {}: {error}", self.0.full_name())))
    }
}
