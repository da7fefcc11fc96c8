//! Parameters of a module's process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::orphans::Life;

/// Parameters of one process to spawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Program to run.
    pub executable: PathBuf,
    /// Arguments, the socket address first.
    pub arguments: Vec<OsString>,
    /// Variables on top of the core's own environment.
    pub env: BTreeMap<String, OsString>,
    /// Working directory at the start.
    pub directory: PathBuf,
    /// The folder that its tarball was unpacked into.
    pub unpacked: Option<PathBuf>,
    /// Lasting data directory of the module, to be made before the start.
    pub data: PathBuf,
    /// Mark by which the process and all that comes of it are known.
    pub life: Life,
}
