//! Both sides of the streams of a [`Shell`](super::Shell). In each the first message names the resource.

use futures_util::{StreamExt, stream};
use mainstay_proto::viam::service::shell::v1::{
    self, CopyFilesFromMachineRequest, CopyFilesFromMachineRequestMetadata, CopyFilesFromMachineResponse,
    CopyFilesFromMachineResponseMetadata, CopyFilesToMachineRequest, CopyFilesToMachineRequestMetadata,
    CopyFilesToMachineResponse, copy_files_from_machine_request::Request as FromRequest,
    copy_files_from_machine_response::Response as FromResponse, copy_files_to_machine_request::Request as ToRequest,
};
use tonic::Streaming as Incoming;

use super::{CopiedFiles, CopyFromMachine, CopyToMachine, FileData, Input, Output, Shell, ShellClient};
use crate::{
    __private::answered,
    Error, Object, Resources, Result, Value,
    api::{Streaming, outgoing::outgoing},
    wire::Wire,
};

/// Key of the messages beside the text in the first `extra`.
const MESSAGES: &str = "messages";

pub(super) async fn serve_shell(
    shells: &Resources<dyn Shell>,
    mut requests: Incoming<v1::ShellRequest>,
) -> Result<Streaming<v1::ShellResponse>> {
    let first = requests.message().await?.unwrap_or_default();
    let shell = shells.get(&first.name)?;
    let mut extra: Object = Wire::from_wire(first.extra, "extra")?;
    let mut begin = Vec::new();
    if let Some(Value::List(messages)) = extra.remove(MESSAGES) {
        let messages = messages.into_iter().filter_map(|message| match message {
            Value::Object(message) => Some(Input {
                data: String::new(),
                message,
            }),
            _ => None,
        });
        begin.extend(messages);
    }
    if !first.data_in.is_empty() {
        begin.push(Input {
            data: first.data_in,
            message: Object::new(),
        });
    }
    let later = requests.map(|request| {
        let v1::ShellRequest {
            name: _,
            data_in: data,
            extra,
        } = request?;
        Ok(Input {
            data,
            message: Wire::from_wire(extra, "extra")?,
        })
    });
    let input = stream::iter(begin.into_iter().map(Ok)).chain(later);
    let output = shell.shell(Box::pin(input), &extra).await?;
    Ok(Box::pin(output.map(|output| Ok(output?.into_wire()))))
}

pub(super) async fn call_shell(
    client: &ShellClient,
    input: Streaming<Input>,
    extra: &Object,
) -> Result<Streaming<Output>> {
    let first = v1::ShellRequest {
        name: client.0.name().to_owned(),
        data_in: String::new(),
        extra: extra.clone().into_wire(),
    };
    let name = first.name.clone();
    let (input, broken) = outgoing(input);
    let later = input.map(move |Input { data: data_in, message }| v1::ShellRequest {
        name: name.clone(),
        data_in,
        extra: message.into_wire(),
    });
    let request = client.0.request(stream::iter([first]).chain(later));
    let answers = client
        .0
        .response(async move { client.stub().shell(request).await })
        .await?;
    Ok(broken.ends(answers.map(|answer| answered(answer?, "the answer"))))
}

pub(super) async fn serve_copy_to(
    shells: &Resources<dyn Shell>,
    mut requests: Incoming<CopyFilesToMachineRequest>,
) -> Result<Streaming<CopyFilesToMachineResponse>> {
    let first = requests.message().await?.and_then(|first| first.request);
    let Some(ToRequest::Metadata(first)) = first else {
        return Err(Error::unknown("expected copy request metadata"));
    };
    let CopyFilesToMachineRequestMetadata {
        name,
        source_type,
        destination,
        preserve,
        extra,
    } = first;
    let shell = shells.get(&name)?;
    let copy = CopyToMachine {
        source: Wire::from_wire(source_type, "source_type")?,
        destination,
        preserve,
    };
    let files = requests.map(|request| match request?.request {
        Some(ToRequest::FileData(data)) => Ok(Wire::from_wire(data, "file_data")?),
        _ => Err(Error::unknown("expected file data")),
    });
    let written = shell
        .copy_files_to_machine(copy, Box::pin(files), &Wire::from_wire(extra, "extra")?)
        .await?;
    Ok(Box::pin(written.map(|written| {
        written.map(|()| CopyFilesToMachineResponse { ack_last_file: true })
    })))
}

pub(super) async fn call_copy_to(
    client: &ShellClient,
    copy: CopyToMachine,
    files: Streaming<FileData>,
    extra: &Object,
) -> Result<Streaming<()>> {
    let first = ToRequest::Metadata(CopyFilesToMachineRequestMetadata {
        name: client.0.name().to_owned(),
        source_type: copy.source.into_wire(),
        destination: copy.destination,
        preserve: copy.preserve,
        extra: extra.clone().into_wire(),
    });
    let (files, broken) = outgoing(files);
    let requests = stream::iter([first]).chain(files.map(|data| ToRequest::FileData(data.into_wire())));
    let request = client
        .0
        .request(requests.map(|request| CopyFilesToMachineRequest { request: Some(request) }));
    let answers = client
        .0
        .response(async move { client.stub().copy_files_to_machine(request).await })
        .await?;
    Ok(broken.ends(answers.map(|answer| answer.map(|_| ()).map_err(Error::from))))
}

pub(super) async fn serve_copy_from(
    shells: &Resources<dyn Shell>,
    mut requests: Incoming<CopyFilesFromMachineRequest>,
) -> Result<Streaming<CopyFilesFromMachineResponse>> {
    let first = requests.message().await?.and_then(|first| first.request);
    let Some(FromRequest::Metadata(first)) = first else {
        return Err(Error::unknown("expected copy request metadata"));
    };
    let CopyFilesFromMachineRequestMetadata {
        name,
        paths,
        allow_recursion,
        preserve,
        extra,
    } = first;
    let shell = shells.get(&name)?;
    let copy = CopyFromMachine {
        paths,
        allow_recursion,
        preserve,
    };
    let acknowledged = requests.map(|request| request.map(drop).map_err(Error::from));
    let extra = Wire::from_wire(extra, "extra")?;
    let CopiedFiles { source, files } = shell
        .copy_files_from_machine(copy, Box::pin(acknowledged), &extra)
        .await?;
    let first = FromResponse::Metadata(CopyFilesFromMachineResponseMetadata {
        source_type: source.into_wire(),
    });
    let answer = |response| CopyFilesFromMachineResponse {
        response: Some(response),
    };
    let files = files.map(move |data| Ok(answer(FromResponse::FileData(data?.into_wire()))));
    Ok(Box::pin(stream::iter([Ok(answer(first))]).chain(files)))
}

pub(super) async fn call_copy_from(
    client: &ShellClient,
    copy: CopyFromMachine,
    acknowledged: Streaming<()>,
    extra: &Object,
) -> Result<CopiedFiles> {
    let CopyFromMachine {
        paths,
        allow_recursion,
        preserve,
    } = copy;
    let first = FromRequest::Metadata(CopyFilesFromMachineRequestMetadata {
        name: client.0.name().to_owned(),
        paths,
        allow_recursion,
        preserve,
        extra: extra.clone().into_wire(),
    });
    let (acknowledged, broken) = outgoing(acknowledged);
    let requests = stream::iter([first]).chain(acknowledged.map(|()| FromRequest::AckLastFile(true)));
    let request = client
        .0
        .request(requests.map(|request| CopyFilesFromMachineRequest { request: Some(request) }));
    let call = async move { client.stub().copy_files_from_machine(request).await };
    let mut answers = client.0.response(call).await?;
    let Some(FromResponse::Metadata(first)) = answers.message().await?.and_then(|first| first.response) else {
        return Err(Error::unknown("the answer does not begin with metadata"));
    };
    let files = answers.map(|answer| match answer?.response {
        Some(FromResponse::FileData(data)) => answered(data, "file_data"),
        _ => Err(Error::unknown("the answer has no file data")),
    });
    Ok(CopiedFiles {
        source: answered(first.source_type, "source_type")?,
        files: broken.ends(files),
    })
}
