//! APIs of components and services, one module each: the trait that models implement, its value types, its gRPC service
//! and its client.
//!
//! Most methods take `extra`, an object of model-specific arguments, usually empty
//! ([`NO_EXTRA`](crate::NO_EXTRA)). A method fails with an [`Error`], whose gRPC code callers see. Methods
//! that a model need not implement return UNIMPLEMENTED by default, unless their text says otherwise.

pub mod board;
pub mod camera;
pub mod encoder;
pub mod generic;
pub(crate) mod macros;
pub mod motor;
pub mod sensor;

use crate::{Error, Resources, Result};

/// Returns the UNIMPLEMENTED error of a method that a model does not override.
fn unimplemented<T>(method: &str) -> Result<T> {
    Err(Error::unimplemented(format_args!(
        "{method} is not offered by this model"
    )))
}

/// gRPC service of one API.
struct Serve<A: ?Sized>(Resources<A>);
