//! The hot path of calls: a connection is accepted, what it speaks is told from its first bytes, and each call goes by
//! its gRPC service and the resource name in its first message to the module that holds the resource, bytes as they
//! came.
//!
//! Never knows the machine: it sees the published [`table`], the core's own services ([`local_services`]) and who may
//! pass ([`gate`]). No message of a resource is decoded here; `image_types` alone looks into some.
//!
//! Reading order, as a call flows: [`listen`] with [`admission`] (how many) and [`tls`], [`connection`] with
//! [`flow_control`] and `inflow` (how far ahead); [`ingress`] (what every call meets), `grpc_web` (calls of browsers), [`peek`] (the name), [`table`] and
//! [`resource`] (where it goes), `rewrite` (the name that another machine knows it by), [`forward`] and [`call`] (both
//! directions), `in_flight` and [`turns`] (how many, and whose turn), [`upstream`] (a peer's connections), [`remote_link`] (what
//! calls to another machine carry), [`exit_cause`] (why calls in flight end);
//! [`status`], [`deadline`], [`metadata`]; [`operations`] and [`sessions`] (what is remembered of calls).

pub mod admission;
pub mod body;
mod busy_poll;
pub mod call;
pub mod connection;
pub mod deadline;
pub mod exit_cause;
pub mod flow_control;
pub mod forward;
pub mod gate;
mod grpc_web;
pub mod heap;
pub mod identity;
mod image_types;
mod in_flight;
mod inflow;
pub mod ingress;
pub mod listen;
pub mod local_services;
mod local_stream;
pub mod metadata;
pub mod operations;
pub mod peek;
pub mod remote_link;
pub mod resource;
mod rewrite;
pub mod sessions;
pub mod status;
pub mod table;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod turns;
pub mod upstream;
