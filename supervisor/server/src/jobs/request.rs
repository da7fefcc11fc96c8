//! Call that a job means on the machine as it is now. Pure.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::uri::PathAndQuery;
use mainstay_model::Job;
use mainstay_proto::methods::{self, Kind};
use mainstay_proto::viam::common::v1::DoCommandRequest;
use mainstay_proxy::resource::{CallerRole, Resource};
use mainstay_proxy::table::{MethodShape, NamePath};
use mainstay_proxy::upstream::Upstream;
use mainstay_runtime::machine::view::View;
use mainstay_wire::entry::object;
use prost::Message as _;
use tonic::Status;

use crate::robot::stop::field;

const DO_COMMAND: &str = "DoCommand";

/// A call that can be made.
#[derive(Debug)]
pub struct JobRequest {
    /// Resource that is called.
    pub resource: Arc<Resource>,
    /// Connection of its module.
    pub upstream: Upstream,
    /// `/package.Service/Method`.
    pub path: PathAndQuery,
    /// Shape of the method.
    pub shape: MethodShape,
    /// The one message of the request, with its length in front.
    pub body: Bytes,
}

/// Finds the resource and the method.
///
/// # Errors
/// There is no such resource, there are several, it cannot be called now, or the method is none that a job can call.
pub fn request(view: &View, job: &Job) -> Result<JobRequest, Status> {
    let resource = resource(view, &job.resource)?;
    let name = &resource.name;
    let service = view.table.service_of(&name.api).ok_or_else(|| {
        let text = format!(
            "no module has told the gRPC service of {} yet, which {} has",
            name.api, name.name
        );
        Status::unavailable(text)
    })?;
    let shape = view
        .table
        .shape(service, &job.method)
        .ok_or_else(|| Status::unimplemented(format!("{service} has no method {}", job.method)))?;
    if matches!(shape.kind, Some(Kind::ClientStream | Kind::Bidi)) {
        let text = format!("{} takes a stream of requests, and a job sends one", job.method);
        return Err(Status::failed_precondition(text));
    }
    let destination = view.table.lookup(service, &job.method, &name.name)?;
    let caller = if shape.stops {
        CallerRole::Stop
    } else {
        CallerRole::Client
    };
    if let Some(refused) = resource.refuses(caller) {
        return Err(refused.into());
    }
    let (path, message) = if job.method == DO_COMMAND {
        let request = DoCommandRequest {
            name: name.name.to_string(),
            command: Some(object(&job.command.clone().unwrap_or_default())),
        };
        (command_path(service, &shape, name.api.kind()), request.encode_to_vec())
    } else {
        (
            format!("/{service}/{}", job.method),
            named(shape.name_path.as_slice(), &name.name),
        )
    };
    let path = path
        .parse()
        .map_err(|_| Status::invalid_argument(format!("`{}` is no name of a method", job.method)))?;
    Ok(JobRequest {
        upstream: destination.upstream,
        path,
        shape,
        body: framed(&message),
        resource,
    })
}

fn resource(view: &View, name: &str) -> Result<Arc<Resource>, Status> {
    let mut found = view.resources.iter().filter(|resource| *resource.name.name == *name);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(Arc::clone(one)),
        (None, _) => Err(Status::not_found(format!(
            "could not find the resource for name {name}"
        ))),
        (Some(one), Some(other)) => Err(Status::failed_precondition(format!(
            "found duplicate entries for name {name}: {} and {}; rename one of them",
            one.name, other.name
        ))),
    }
}

/// An API without a DoCommand of its own takes that of the generic one.
fn command_path(service: &str, shape: &MethodShape, kind: &str) -> String {
    let own = methods::find(service, DO_COMMAND).is_some()
        || (shape.kind.is_some() && shape.name_path == NamePath::Field([1]));
    if own {
        format!("/{service}/{DO_COMMAND}")
    } else {
        format!("/viam.{kind}.generic.v1.GenericService/{DO_COMMAND}")
    }
}

/// A message with nothing but the name in the field that these numbers lead to; empty where there is none.
fn named(path: &[u32], name: &str) -> Vec<u8> {
    let Some((last, outer)) = path.split_last() else {
        return Vec::new();
    };
    outer
        .iter()
        .rev()
        .fold(field(*last, name.as_bytes()), |inner, number| field(*number, &inner))
}

/// As gRPC sends it: not compressed, its length, itself.
fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(message.len() + 5);
    bytes.put_u8(0);
    // A command comes from a config file, which is far shorter than 4 GiB.
    bytes.put_u32(message.len() as u32);
    bytes.put_slice(message);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use mainstay_proto::viam::component::motor::v1::StopRequest;

    use super::*;
    use mainstay_proxy::table::Table;

    fn view(names: &[&str]) -> View {
        let resource = |name: &&str| {
            let model = "fake".parse().expect("a model");
            Arc::new(Resource::new(name.parse().expect("a name"), model))
        };
        let resources: Vec<_> = names.iter().map(resource).collect();
        View {
            table: Arc::new(Table::new(&resources, Arc::default(), std::iter::empty())),
            resources: resources.into(),
            ..View::default()
        }
    }

    fn job(resource: &str, method: &str) -> Job {
        Job {
            name: "j".to_owned(),
            schedule: "1s".to_owned(),
            resource: resource.to_owned(),
            method: method.to_owned(),
            command: None,
            log_level: None,
            fault: None,
        }
    }

    #[test]
    fn what_cannot_be_called_is_refused_with_the_reason() {
        let view = view(&[
            "rdk:component:motor/left",
            "rdk:component:arm/both",
            "rdk:component:servo/both",
            "acme:component:gizmo/g",
            "rdk:component:audio_in/ear",
        ]);
        for (resource, method, expected) in [
            ("none", "Stop", "could not find the resource for name none"),
            (
                "both",
                "Stop",
                "found duplicate entries for name both: rdk:component:arm/both and rdk:component:servo/both",
            ),
            (
                "g",
                "Turn",
                "no module has told the gRPC service of acme:component:gizmo yet",
            ),
            ("left", "Stop", "resource rdk:component:motor/left not available"),
        ] {
            let refused = request(&view, &job(resource, method)).expect_err("refused");
            assert!(refused.message().starts_with(expected), "{}", refused.message());
        }
    }

    #[test]
    fn a_request_holds_the_name_alone_wherever_it_belongs() {
        let decoded = StopRequest::decode(&*named(&[1], "left")).expect("a message");
        let expected = StopRequest {
            name: "left".into(),
            extra: None,
        };
        assert_eq!(decoded, expected);
        assert_eq!(named(&[300], "a"), [0xe2, 0x12, 1, b'a']);
        assert_eq!(named(&[2, 1], "a"), [0x12, 3, 0x0a, 1, b'a']);
        assert_eq!(named(&[], "a"), b"");
        assert_eq!(&framed(b"ab")[..], b"\0\0\0\0\x02ab");
    }

    #[test]
    fn an_api_without_a_command_of_its_own_takes_the_generic_one() {
        let shape = |kind, name_path| MethodShape {
            kind,
            name_path,
            actuates: false,
            stops: false,
            unknown: kind.is_none(),
        };
        let (unary, first) = (Some(Kind::Unary), NamePath::Field([1]));
        for (service, shape, expected) in [
            (
                "viam.component.motor.v1.MotorService",
                shape(unary, first),
                "/viam.component.motor.v1.MotorService/DoCommand",
            ),
            ("acme.v1.Gizmo", shape(unary, first), "/acme.v1.Gizmo/DoCommand"),
            (
                "acme.v1.Gizmo",
                shape(unary, NamePath::Field([7])),
                "/viam.component.generic.v1.GenericService/DoCommand",
            ),
            (
                "acme.v1.Gizmo",
                shape(None, first),
                "/viam.component.generic.v1.GenericService/DoCommand",
            ),
        ] {
            assert_eq!(command_path(service, &shape, "component"), expected);
        }
    }
}
