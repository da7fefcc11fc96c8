//! `rdk:service:shell`: a terminal on the machine, and files to and from it.

use std::time::SystemTime;

use bytes::Bytes;
use mainstay_proto::viam::service::shell::v1;

use super::Streaming;
use crate::{Object, Resource, Result, api, wire::Message};

mod streams;

/// Shell (`rdk:service:shell`).
///
/// ```
/// use futures_util::StreamExt;
/// use mainstay_module::{api::{Streaming, shell::{Input, Output, Shell}}, prelude::*};
/// # struct Parrot;
/// # impl Resource for Parrot {}
///
/// #[async_trait]
/// impl Shell for Parrot {
///     async fn shell(&self, input: Streaming<Input>, extra: &Object) -> Result<Streaming<Output>> {
///         Ok(Box::pin(input.map(|input| Ok(Output { data_out: input?.data, ..Output::default() }))))
///     }
/// }
/// ```
#[api("rdk:service:shell", v1::ShellService { DoCommand, GetStatus })]
pub trait Shell: Resource {
    /// Runs a terminal. The end of `input` is an end of transmission (control-D); the output ends after one with `eof`.
    #[rpc(duplex Shell, serve = streams::serve_shell, call = streams::call_shell)]
    async fn shell(&self, input: Streaming<Input>, extra: &Object) -> Result<Streaming<Output>>;

    /// Writes files, and acknowledges each when it is written. Each file ends with a piece whose `eof` is true.
    #[rpc(duplex CopyFilesToMachine, optional, serve = streams::serve_copy_to, call = streams::call_copy_to)]
    async fn copy_files_to_machine(
        &self,
        copy: CopyToMachine,
        files: Streaming<FileData>,
        extra: &Object,
    ) -> Result<Streaming<()>>;

    /// Reads files. The caller acknowledges each, and the next is sent then.
    #[rpc(duplex CopyFilesFromMachine, optional, serve = streams::serve_copy_from, call = streams::call_copy_from)]
    async fn copy_files_from_machine(
        &self,
        copy: CopyFromMachine,
        acknowledged: Streaming<()>,
        extra: &Object,
    ) -> Result<CopiedFiles>;
}

/// Input of a terminal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Input {
    /// Text that is typed.
    pub data: String,
    /// Message beside the text, such as `message: window-change` with `cols` and `rows`.
    pub message: Object,
}

/// Output of a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::ShellResponse)]
pub struct Output {
    /// Text on the screen.
    pub data_out: String,
    /// Text of errors, where they are told apart.
    pub data_err: String,
    /// True if it is the last.
    pub eof: bool,
}

/// What is copied to the machine, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyToMachine {
    /// One file, one folder, or several.
    pub source: CopySource,
    /// Path on the machine.
    pub destination: String,
    /// True to keep times and permissions.
    pub preserve: bool,
}

/// What is copied from the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyFromMachine {
    /// Paths on the machine.
    pub paths: Vec<String>,
    /// True to copy folders with all that is in them.
    pub allow_recursion: bool,
    /// True to keep times and permissions.
    pub preserve: bool,
}

/// Files from the machine.
pub struct CopiedFiles {
    /// One file, one folder, or several.
    pub source: CopySource,
    /// Their contents, piece by piece.
    pub files: Streaming<FileData>,
}

/// What a copy is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::CopyFilesSourceType, default)]
pub enum CopySource {
    /// Not said.
    #[default]
    Unspecified,
    /// One file.
    SingleFile,
    /// One folder.
    SingleDirectory,
    /// Several files or folders.
    MultipleFiles,
}

/// Piece of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::FileData)]
pub struct FileData {
    /// Relative path.
    pub name: String,
    /// Size of the file in bytes.
    pub size: i64,
    /// True for a folder.
    pub is_dir: bool,
    /// Contents, up to 16 MiB at a time.
    pub data: Bytes,
    /// True if it is the last of its file.
    pub eof: bool,
    /// Time of the last change.
    pub mod_time: Option<SystemTime>,
    /// Permission bits.
    pub mode: Option<u32>,
}
