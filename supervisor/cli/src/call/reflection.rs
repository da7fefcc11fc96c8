//! Learning what a service looks like by asking the machine (gRPC reflection v1), so that `call` works for every API,
//! also for one that only a module knows.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_proto::descriptors;
use prost::Message as _;
use prost_reflect::{DescriptorPool, ServiceDescriptor};
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

/// Files by the names under which they import each other.
type Files = BTreeMap<String, FileDescriptorProto>;

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

/// The same from our own descriptors, for the APIs that every machine speaks.
fn built_in(symbol: &str) -> Option<Files> {
    let mut files = Files::new();
    let mut wanted = vec![descriptors::file_of(symbol)?];
    while let Some(file) = wanted.pop() {
        if files.contains_key(file.name) {
            continue;
        }
        files.insert(file.name.to_owned(), FileDescriptorProto::decode(file.bytes).ok()?);
        wanted.extend(file.imports.iter().filter_map(|name| descriptors::file(name)));
    }
    Some(files)
}

/// Google's own files, which the pool brings along; another copy of one would collide with it.
fn is_well_known(name: &str) -> bool {
    DescriptorPool::global().get_file_by_name(name).is_some()
}

fn pool(files: Files) -> Result<DescriptorPool, prost_reflect::DescriptorError> {
    let mut pool = DescriptorPool::global();
    let known: BTreeSet<String> = files.keys().cloned().collect();
    let files = files
        .into_values()
        .filter(|file| !is_well_known(file.name()))
        .map(|mut file| {
            let kept = |name: &String| known.contains(name) || is_well_known(name);
            // The import lists of public and weak ones count positions, so they do not survive a removal.
            if !file.dependency.iter().all(kept) {
                file.public_dependency.clear();
                file.weak_dependency.clear();
                file.dependency.retain(kept);
            }
            file
        });
    pool.add_file_descriptor_protos(files)?;
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use prost_types::{DescriptorProto, FieldDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};

    use super::*;

    /// `test.proto` with one service that uses `google.protobuf.Struct`, and these imports.
    fn file(imports: &[&str]) -> FileDescriptorProto {
        let field = FieldDescriptorProto {
            name: Some("extra".into()),
            number: Some(1),
            r#type: Some(11),
            label: Some(1),
            type_name: Some(".google.protobuf.Struct".into()),
            ..FieldDescriptorProto::default()
        };
        let method = MethodDescriptorProto {
            name: Some("Do".into()),
            input_type: Some(".test.Request".into()),
            output_type: Some(".test.Request".into()),
            ..MethodDescriptorProto::default()
        };
        FileDescriptorProto {
            name: Some("test.proto".into()),
            package: Some("test".into()),
            syntax: Some("proto3".into()),
            dependency: imports.iter().map(|name| (*name).to_owned()).collect(),
            message_type: vec![DescriptorProto {
                name: Some("Request".into()),
                field: vec![field],
                ..DescriptorProto::default()
            }],
            service: vec![ServiceDescriptorProto {
                name: Some("Service".into()),
                method: vec![method],
                ..ServiceDescriptorProto::default()
            }],
            ..FileDescriptorProto::default()
        }
    }

    #[test]
    fn an_import_that_nobody_has_is_done_without() {
        let file = file(&["google/protobuf/struct.proto", "tagger/v1/tagger.proto"]);
        let pool = pool(Files::from([("test.proto".to_owned(), file)])).expect("only options were missing");
        assert!(pool.get_service_by_name("test.Service").is_some());
    }

    #[test]
    fn a_second_copy_of_a_well_known_file_does_not_collide() {
        let mut copy = FileDescriptorProto {
            name: Some("google/protobuf/struct.proto".into()),
            ..FileDescriptorProto::default()
        };
        copy.package = Some("somewhere.else".into());
        let file = file(&["google/protobuf/struct.proto"]);
        let files = Files::from([
            ("test.proto".to_owned(), file),
            ("google/protobuf/struct.proto".to_owned(), copy),
        ]);
        assert!(pool(files).is_ok());
    }

    #[test]
    fn the_apis_that_every_machine_speaks_are_known_without_asking() {
        let name = "viam.component.motor.v1.MotorService";
        let pool = pool(built_in(name).expect("ours")).expect("complete");
        assert!(pool.get_service_by_name(name).is_some());
        assert!(built_in("acme.v1.NobodyService").is_none());
    }
}
