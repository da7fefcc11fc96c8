//! Everything that a module's process is started with.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::orphans::Life;

/// Everything that the process gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// What to run.
    pub executable: PathBuf,
    /// Arguments, the socket address first.
    pub arguments: Vec<OsString>,
    /// Variables on top of the core's own environment.
    pub env: BTreeMap<String, OsString>,
    /// Where it starts.
    pub directory: PathBuf,
    /// The folder that its tarball was unpacked into.
    pub unpacked: Option<PathBuf>,
    /// Its lasting data directory, to be made before the start.
    pub data: PathBuf,
    /// What it and all that comes of it are known by.
    pub life: Life,
}
