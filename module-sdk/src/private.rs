//! Support code of the macro [`api`](crate::api): names that its output uses, and nobody else.

use std::pin::Pin;

pub use async_trait::async_trait;
pub use futures_util::StreamExt;
use futures_util::{Stream, future, stream};
pub use mainstay_proto::viam::common::v1 as common;
pub use tonic::{Request, Response, Status, Streaming as Incoming, server::NamedService};

use crate::{Error, Result};
pub use crate::{client::origin, wire::Wire};

/// Answers of a method that streams them.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Returns the UNIMPLEMENTED error of a method that a model does not override.
pub fn unimplemented<T>(method: &str) -> Result<T> {
    Err(Error::unimplemented(format_args!(
        "{method} is not offered by this model"
    )))
}

/// Reads an argument from the field of a request.
pub fn argument<T: Wire<W>, W>(wire: W, field: &'static str) -> Result<T> {
    T::from_wire(wire, field).map_err(Error::invalid_argument)
}

/// Reads a result from the field of an answer.
pub fn answered<T: Wire<W>, W>(wire: W, field: &'static str) -> Result<T> {
    T::from_wire(wire, field).map_err(|error| Error::unknown(format_args!("the answer makes no sense: {error}")))
}

/// Sends the items of a stream. If `announced`, an empty answer goes first: clients wait for it, to know that the resource
/// is listening, and throw it away.
pub fn answers<T: Default + Send + 'static>(
    items: impl Stream<Item = Result<T>> + Send + 'static,
    announced: bool,
) -> Answers<T> {
    let first = stream::iter(announced.then(|| Ok(T::default())));
    Box::pin(first.chain(items.map(|item| item.map_err(Status::from))))
}

/// Receives the answers of a stream. If `announced`, a first one that is empty is none; not every module sends it.
pub fn items<T: Default + PartialEq + Send + 'static>(
    answers: Incoming<T>,
    announced: bool,
) -> impl Stream<Item = Result<T>> + Send + 'static {
    let numbered = answers.enumerate();
    numbered.filter_map(move |(n, answer)| {
        let empty = announced && n == 0 && matches!(&answer, Ok(answer) if *answer == T::default());
        future::ready((!empty).then(|| answer.map_err(Error::from)))
    })
}

/// Messages of the methods that all resources share.
pub mod shared {
    use super::common;
    use crate::{Object, spatial::Geometry, value::wire};

    pub fn do_command(name: &str, command: Object) -> common::DoCommandRequest {
        let command = Some(wire::to_struct(command));
        common::DoCommandRequest {
            name: name.to_owned(),
            command,
        }
    }

    pub fn do_command_result(answer: common::DoCommandResponse) -> Object {
        wire::from_struct(answer.result)
    }

    pub fn get_status(name: &str) -> common::GetStatusRequest {
        common::GetStatusRequest { name: name.to_owned() }
    }

    pub fn status_result(answer: common::GetStatusResponse) -> Object {
        wire::from_struct(answer.result)
    }

    pub fn get_geometries(name: &str, extra: &Object) -> common::GetGeometriesRequest {
        let extra = wire::to_extra(extra.clone());
        common::GetGeometriesRequest {
            name: name.to_owned(),
            extra,
        }
    }

    pub fn geometries_result(answer: common::GetGeometriesResponse) -> Option<Vec<Geometry>> {
        Some(answer.geometries.into_iter().filter_map(Geometry::from_wire).collect())
    }
}
