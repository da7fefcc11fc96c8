//! Macros of `mainstay-module`, which re-exports and documents them: [`api`] makes the gRPC service and the client of a
//! trait, [`Message`] the conversions between a value type and its message.
//!
//! They decide nothing and know no API: what a method is called on the wire stands beside it. `rpc` reads that, `method`
//! writes both sides of it, `shared` those of the methods that all resources have, `api` the whole; `message` is about value
//! types.

mod api;
mod message;
mod method;
mod rpc;
mod shared;

use proc_macro::TokenStream;

/// Makes a trait the API of a resource. See `mainstay_module::api`.
#[proc_macro_attribute]
pub fn api(arguments: TokenStream, item: TokenStream) -> TokenStream {
    api::expand(arguments.into(), item.into())
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

/// Converts a struct or an enum from and to the message of the same fields. See `mainstay_module::wire`.
#[proc_macro_derive(Message, attributes(message))]
pub fn message(item: TokenStream) -> TokenStream {
    message::expand(item.into())
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
