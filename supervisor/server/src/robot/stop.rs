//! Stopping actuators: one after a session fell silent, all on StopAll.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use mainstay_proto::ResourceName;
use mainstay_proto::raw::RawCodec;
use mainstay_proxy::resource::Resource;
use mainstay_proxy::table::StopMethod;
use mainstay_proxy::upstream::Upstream;
use mainstay_runtime::machine::view::ViewCell;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::Struct;
use tokio::task::JoinSet;
use tonic::{Request, Status};

/// Limit for one Stop. A module that does not answer it within this time is not going to.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Stops one resource, if its API can and it is there.
pub async fn stop(published: &ViewCell, name: &ResourceName, extra: Option<&Struct>) -> Result<(), Status> {
    let view = published.load_full();
    let Some(stop) = view.table.stop_of(name) else {
        return Ok(());
    };
    let resource = view.resources.iter().find(|resource| resource.name == *name);
    match resource.and_then(|resource| Some((upstream(resource)?, own_name(resource)))) {
        Some((upstream, own)) => call(upstream, &stop, &own, extra).await,
        None => Ok(()), // Not in any module, so nothing of it can move.
    }
}

/// Stops every resource that can stop, all at once. One that fails does not keep the others from being asked.
pub async fn stop_all(
    published: &ViewCell,
    only: Option<&[ResourceName]>,
    extra: Vec<(ResourceName, Struct)>,
) -> Result<(), Status> {
    let extra: HashMap<_, _> = extra.into_iter().collect();
    let view = published.load_full();
    let mut calls = JoinSet::new();
    for resource in view.resources.iter() {
        let name = &resource.name;
        if only.is_some_and(|only| !only.contains(name)) {
            continue;
        }
        if let (Some(stop), Some(upstream)) = (view.table.stop_of(name), upstream(resource)) {
            let (name, extra, own) = (name.clone(), extra.get(name).cloned(), own_name(resource));
            calls.spawn(async move {
                let outcome = call(upstream, &stop, &own, extra.as_ref()).await;
                outcome.map_err(|status| {
                    format!(
                        "failed to stop component named {} with error {}",
                        name.name,
                        status.message()
                    )
                })
            });
        }
    }
    let mut problems = Vec::new();
    while let Some(outcome) = calls.join_next().await {
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => problems.push(problem),
            Err(panic) => problems.push(panic.to_string()),
        }
    }
    problems.sort();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Status::unknown(problems.join("; ")))
    }
}

/// Simple name of a resource where it is.
fn own_name(resource: &Resource) -> String {
    match &resource.origin {
        Some(origin) => origin.name.to_string(),
        None => resource.name.name.clone(),
    }
}

fn upstream(resource: &Resource) -> Option<Upstream> {
    resource.state().upstream.clone()
}

async fn call(upstream: Upstream, stop: &StopMethod, name: &str, extra: Option<&Struct>) -> Result<(), Status> {
    let path = stop
        .path
        .parse()
        .map_err(|error| Status::internal(format!("`{}` is no path: {error}", stop.path)))?;
    let mut request = Request::new(message(stop, name, extra));
    request.set_timeout(STOP_TIMEOUT);
    let mut client = tonic::client::Grpc::new(upstream);
    // A connection to a module is ready at any time.
    match tokio::time::timeout(STOP_TIMEOUT, client.unary(request, path, RawCodec)).await {
        Ok(answer) => answer.map(|_stopped| ()),
        Err(_elapsed) => Err(Status::deadline_exceeded(format!(
            "no answer to Stop within {STOP_TIMEOUT:?}"
        ))),
    }
}

/// A Stop request of any API: its name field, and its `extra` if it has one.
fn message(stop: &StopMethod, name: &str, extra: Option<&Struct>) -> Bytes {
    let mut bytes = field(stop.name_field, name.as_bytes());
    if let (Some(number), Some(extra)) = (stop.extra_field, extra) {
        bytes.extend(field(number, &extra.encode_to_vec()));
    }
    bytes.into()
}

/// A field of a message: text, bytes or another message.
pub fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

#[cfg(test)]
mod tests {
    use mainstay_proto::viam::component::motor::v1::StopRequest;

    use super::*;

    #[test]
    fn a_stop_message_is_what_the_api_expects() {
        let stop = StopMethod {
            path: "/x/Stop".into(),
            name_field: 1,
            extra_field: Some(99),
        };
        let value = prost_types::Value {
            kind: Some(prost_types::value::Kind::BoolValue(true)),
        };
        let extra = Struct {
            fields: [("fast".to_owned(), value)].into(),
        };
        let decoded = StopRequest::decode(message(&stop, "left", Some(&extra))).expect("a good message");
        assert_eq!(
            decoded,
            StopRequest {
                name: "left".into(),
                extra: Some(extra)
            }
        );
        let custom = StopMethod {
            path: "/x/Stop".into(),
            name_field: 300,
            extra_field: None,
        };
        assert_eq!(message(&custom, "a", None), [0xe2, 0x12, 1, b'a'].as_slice());
    }
}
