//! Learning what a service looks like by asking the machine (gRPC reflection v1), so that `call` works for every API,
//! also for one that only a module knows.

use std::collections::BTreeSet;

use mainstay_wire::descriptors::{Files, built_in, is_well_known, pool};
use prost::Message as _;
use prost_reflect::ServiceDescriptor;
use prost_types::FileDescriptorProto;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::connection::MachineConnection;
use crate::failure::CliError;

/// The service's methods and all types that they use.
///
/// # Errors
/// The machine does not know the service, or describes it in a way that makes no sense.
pub async fn service(connection: &MachineConnection, name: &str) -> Result<ServiceDescriptor, CliError> {
    let files = match ask(connection, name).await {
        Ok(files) => files,
        // Machines without reflection exist; what everybody's APIs look like is known here.
        Err(status) => match built_in(name) {
            Some(files) => files,
            None => return Err(unknown(name, &status)),
        },
    };
    let pool =
        pool(files).map_err(|error| CliError::wrong(format!("the description of {name} makes no sense: {error}")))?;
    pool.get_service_by_name(name).ok_or_else(|| {
        CliError::wrong(format!(
            "the machine's description of {name} does not contain it; is its module broken?"
        ))
    })
}

fn unknown(name: &str, status: &Status) -> CliError {
    match status.code() {
        Code::NotFound | Code::Unimplemented => {
            let why = status.message();
            CliError::wrong(format!(
                "the machine cannot describe {name}: {why}; its module must offer gRPC reflection"
            ))
        }
        _ => status.clone().into(),
    }
}

/// Fetches the file that defines a symbol and, one after the other, whatever that imports and did not come with it.
async fn ask(connection: &MachineConnection, symbol: &str) -> Result<Files, Status> {
    let (requests, receiver) = mpsc::channel(1);
    let mut next = MessageRequest::FileContainingSymbol(symbol.to_owned());
    let mut client = ServerReflectionClient::new(connection.clone()).max_decoding_message_size(usize::MAX);
    // The first request must lie ready: some servers answer the call only when they have seen one.
    send(&requests, next.clone()).await?;
    let mut answers = client
        .server_reflection_info(ReceiverStream::new(receiver))
        .await?
        .into_inner();

    let mut files = Files::new();
    let mut missing = BTreeSet::new();
    loop {
        match (receive(&mut answers).await, &next) {
            (Ok(received), _) => files.extend(received.into_iter().map(|file| (file.name().to_owned(), file))),
            // An import that the machine cannot deliver may hold nothing but options; try without it.
            (Err(status), MessageRequest::FileByFilename(name)) if status.code() == Code::NotFound => {
                missing.insert(name.clone());
            }
            (Err(status), _) => return Err(status),
        }
        let imports = files.values().flat_map(|file| &file.dependency);
        let wanted = imports
            .into_iter()
            .find(|name| !files.contains_key(*name) && !missing.contains(*name) && !is_well_known(name));
        let Some(wanted) = wanted else { return Ok(files) };
        next = MessageRequest::FileByFilename(wanted.clone());
        send(&requests, next.clone()).await?;
    }
}

async fn send(requests: &mpsc::Sender<ServerReflectionRequest>, request: MessageRequest) -> Result<(), Status> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(request),
    };
    requests
        .send(request)
        .await
        .map_err(|_| Status::unavailable("the machine ended the reflection stream"))
}

async fn receive(answers: &mut Streaming<ServerReflectionResponse>) -> Result<Vec<FileDescriptorProto>, Status> {
    let answer = answers.message().await?.and_then(|answer| answer.message_response);
    match answer {
        Some(MessageResponse::FileDescriptorResponse(found)) => found
            .file_descriptor_proto
            .iter()
            .map(|bytes| FileDescriptorProto::decode(bytes.as_slice()))
            .collect::<Result<_, _>>()
            .map_err(|error| Status::internal(format!("unreadable descriptor: {error}"))),
        Some(MessageResponse::ErrorResponse(error)) => {
            Err(Status::new(Code::from_i32(error.error_code), error.error_message))
        }
        _ => Err(Status::unimplemented("no answer to the question for its description")),
    }
}
