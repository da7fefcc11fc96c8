//! The APIs, one file each: the trait that authors implement, its value types, the gRPC service in front of it and
//! the typed client behind it.

pub mod board;
pub mod camera;
pub mod encoder;
pub mod generic;
pub(crate) mod macros;
pub mod motor;
pub mod sensor;

use crate::{Error, Resources, Result};

/// The answer of a method that a model does not offer.
fn unimplemented<T>(method: &str) -> Result<T> {
    Err(Error::unimplemented(format_args!(
        "{method} is not offered by this model"
    )))
}

/// The gRPC service of one API.
struct Serve<A: ?Sized>(Resources<A>);
