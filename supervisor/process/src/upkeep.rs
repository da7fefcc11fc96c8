//! Upkeep of what a running machine stands on, and what others may remove under it: runtime directory, lock, home of the
//! modules, working directory. Sockets are looked after by [`path_listener`](crate::path_listener).

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::identity::IdentityClaim;
use crate::runtime_dir::RuntimeDirKeeper;

/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// Looks between two walks through the runtime directory.
const LOOKS_PER_TOUCH: u32 = 5;
/// Age at which a file is touched. Cleaners think in days.
const TOUCH_AGE: Duration = Duration::from_secs(3600);

/// Upkeep of one machine.
#[derive(Debug)]
pub struct Upkeep {
    directory: Arc<RuntimeDirKeeper>,
    claim: IdentityClaim,
    /// VIAM_HOME.
    home: PathBuf,
    /// Path of the working directory at the start.
    working: Option<PathBuf>,
    /// Last failure, which is told once.
    failure: Option<String>,
}

impl Upkeep {
    /// Upkeep of the machine whose modules keep their data in `home`, which is made if it is missing.
    pub fn new(directory: Arc<RuntimeDirKeeper>, claim: IdentityClaim, home: PathBuf) -> Self {
        // A failure is told with the first look.
        let _told_later = make_home(&home);
        Self {
            directory,
            claim,
            home,
            working: std::env::current_dir().ok(),
            failure: None,
        }
    }

    /// Looks every now and then until `stop`, on a thread of its own: a disk may be slow, and the thread that passes calls on
    /// must not wait for it.
    pub async fn run(mut self, stop: CancellationToken) {
        let (running, ended) = mpsc::channel::<()>();
        let (last, gone) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("upkeep".into())
            .stack_size(128 * 1024)
            .spawn(move || {
                let _last = last;
                let mut looks = 0_u32;
                while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                    looks = looks.wrapping_add(1);
                    self.look(looks.is_multiple_of(LOOKS_PER_TOUCH));
                }
            });
        match thread {
            Ok(_ends_by_itself) => stop.cancelled().await,
            Err(error) => warn!("nobody looks after what is removed under the machine: no thread: {error}"),
        }
        drop(running);
        let _ended = gone.await;
    }

    fn look(&mut self, touch: bool) {
        self.claim.drain();
        let failure = self.renew().err();
        if let Some(failure) = failure
            .as_ref()
            .filter(|failure| self.failure.as_ref() != Some(*failure))
        {
            warn!("{failure}");
        }
        self.failure = failure;
        if touch {
            self.directory.touch(TOUCH_AGE);
        }
        if let Some(working) = &self.working
            && differs(working)
            && std::env::set_current_dir(working).is_ok()
        {
            info!(directory = %working.display(), "the working directory was removed or replaced under the machine; it is in the new one now");
        }
    }

    fn renew(&self) -> Result<(), String> {
        let renewed = self.directory.renew_if_missing();
        renewed.map_err(|error| format!("the runtime directory was removed under the machine: {error}"))?;
        if !self.home.exists() {
            let made = make_home(&self.home);
            made.map_err(|error| {
                let home = self.home.display();
                format!(
                    "the home of the modules, `{home}`, was removed under the machine, and cannot be made anew: {error}"
                )
            })?;
        }
        Ok(())
    }
}

/// Makes the home of the modules for its owner alone: what they keep is not for the other users of a host. A folder that is there
/// stays as it is.
fn make_home(home: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(home)
}

/// True if the folder at `path` is another one than the working directory.
fn differs(path: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|there| (there.dev(), there.ino()));
    match (identity(path), identity(Path::new("."))) {
        (Ok(there), Ok(here)) => there != here,
        // It is not there, or not again yet.
        (Err(_), _) => false,
        (Ok(_), Err(_)) => true,
    }
}
