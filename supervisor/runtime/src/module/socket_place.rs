//! Place of a module's sockets: its directory in the runtime directory, and the parent socket in it. Made anew before each
//! start where something is missing, because cleaners remove what they take for old.

use std::sync::Arc;

use mainstay_process::path_listener::PathListener;
use mainstay_process::runtime_dir::RuntimeDirKeeper;
use mainstay_process::sockets::Sockets;

/// The place of one module.
#[derive(Debug)]
pub struct SocketPlace {
    directory: Arc<RuntimeDirKeeper>,
    sockets: Sockets,
    parent: Option<PathListener>,
}

impl SocketPlace {
    /// A place without a parent socket.
    pub fn new(directory: Arc<RuntimeDirKeeper>, sockets: Sockets) -> Self {
        Self {
            directory,
            sockets,
            parent: None,
        }
    }

    /// The same with this parent socket, if it is one.
    pub fn with(self, parent: Option<PathListener>) -> Self {
        Self { parent, ..self }
    }

    /// Names of the sockets.
    pub fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// Makes what is missing of it.
    ///
    /// # Errors
    /// Text of what cannot be made.
    pub fn renew(&self) -> Result<(), String> {
        self.directory.renew_if_missing().map_err(|error| error.to_string())?;
        let failed = |error: std::io::Error| {
            let directory = self.sockets.directory().display();
            format!("no sockets for it in `{directory}`: {error}")
        };
        self.sockets.make_directory_again().map_err(failed)?;
        let parent = self.parent.as_ref().map(PathListener::renew_if_missing);
        parent.transpose().map(drop).map_err(failed)
    }
}
