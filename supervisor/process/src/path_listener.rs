//! UNIX listener at a path, bound anew when its file is missing: cleaners of temporary folders remove sockets that are in
//! use, and a listener without its file is reached by nobody.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::runtime_dir::{check_private, is_open_to_group, uid};

/// Pause between two looks at the file.
const LOOK: Duration = Duration::from_secs(2);
/// Failures after which it is told: the folder above may be made anew in a moment.
const TOLD_AT: u32 = 3;

/// The listener. Clones share it.
#[derive(Debug, Clone)]
pub struct PathListener(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    bound: Mutex<BoundPath>,
    renewed: Notify,
}

/// What is bound at present.
#[derive(Debug)]
struct BoundPath {
    listener: Arc<UnixListener>,
    /// Device and inode of its file.
    file: (u64, u64),
    /// Owner of the folder, who must get through to the file.
    owner: (u32, u32),
    mode: u32,
    /// Tries to renew it that failed, one after the other.
    failures: u32,
}

impl BoundPath {
    fn new(path: &Path, mode: u32) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        let file = fs::symlink_metadata(path)?;
        Ok(Self {
            listener: Arc::new(listener),
            file: (file.dev(), file.ino()),
            owner: (file.uid(), file.gid()),
            mode,
            failures: 0,
        })
    }

    /// Binds at the same path again, in a folder that may be gone.
    fn again(&self, path: &Path) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(path);
        // Somebody else may have been faster to make what is missing, to listen in our place.
        let private = |path: &Path| check_private(path).map_err(io::Error::other);
        match fs::symlink_metadata(folder) {
            Ok(there) if there.uid() == uid() => private(folder)?,
            Ok(there) if (there.uid(), there.gid()) == self.owner => private(folder.parent().unwrap_or(folder))?,
            Ok(_) => return Err(io::Error::other("its folder belongs to somebody else")),
            Err(_) => {
                private(folder.parent().unwrap_or(folder))?;
                DirBuilder::new().mode(0o700).create(folder)?;
            }
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let bound = Self::new(path, self.mode)?;
        if bound.owner != self.owner {
            for path in [folder, path] {
                lchown(path, Some(self.owner.0), Some(self.owner.1))?;
            }
        }
        Ok(Self {
            owner: self.owner,
            ..bound
        })
    }
}

impl PathListener {
    /// Listens on `path`, for our own user alone, and for the group that its directory is open to. Connections are taken from
    /// this moment on, even if nobody serves them yet.
    ///
    /// # Errors
    /// The error of the system.
    pub fn bind(path: PathBuf) -> io::Result<Self> {
        let for_group = path.parent().is_some_and(is_open_to_group);
        let bound = BoundPath::new(&path, if for_group { 0o770 } else { 0o700 })?;
        Ok(Self(Arc::new(Shared {
            path,
            bound: Mutex::new(bound),
            renewed: Notify::new(),
        })))
    }

    fn bound(&self) -> MutexGuard<'_, BoundPath> {
        self.0.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Binds anew if the file is missing, or another lies in its place.
    ///
    /// # Errors
    /// It cannot be bound there.
    pub fn renew_if_missing(&self) -> io::Result<()> {
        let path = &self.0.path;
        let mut bound = self.bound();
        let there = fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()));
        if there.is_ok_and(|file| file == bound.file) {
            if let Some(folder) = path.parent().and_then(|folder| fs::metadata(folder).ok()) {
                bound.owner = (folder.uid(), folder.gid());
            }
            return Ok(());
        }
        match bound.again(path) {
            Ok(again) => {
                info!(socket = %path.display(), "a socket was removed under the machine; made it anew");
                *bound = again;
                self.0.renewed.notify_one();
                Ok(())
            }
            Err(error) => {
                bound.failures = bound.failures.saturating_add(1);
                if bound.failures == TOLD_AT {
                    warn!(socket = %path.display(), "a socket was removed under the machine, and cannot be made anew: {error}");
                }
                Err(error)
            }
        }
    }

    /// The next connection. May be dropped and called again. For one caller at a time.
    ///
    /// # Errors
    /// The error of the system.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let listener = self.bound().listener.clone();
            tokio::select! {
                accepted = listener.accept() => return accepted.map(|(io, _)| io),
                () = self.0.renewed.notified() => {}
                () = tokio::time::sleep(LOOK) => {
                    let _told = self.renew_if_missing();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn private_folder() -> tempfile::TempDir {
        let temp = tempfile::tempdir().expect("a folder");
        fs::set_permissions(temp.path(), Permissions::from_mode(0o700)).expect("ours");
        temp
    }

    #[tokio::test]
    async fn a_removed_socket_and_a_removed_folder_are_made_anew() {
        let temp = private_folder();
        let path = temp.path().join("inner/s.sock");
        DirBuilder::new()
            .mode(0o700)
            .create(temp.path().join("inner"))
            .expect("made");
        let listener = PathListener::bind(path.clone()).expect("bound");
        let serving = listener.clone();
        let (told, mut accepted) = tokio::sync::mpsc::unbounded_channel();
        let mut served = tokio::task::JoinSet::new();
        served.spawn(async move {
            while let Ok(io) = serving.accept().await {
                told.send(io).expect("somebody listens");
            }
        });
        UnixStream::connect(&path).await.expect("before");
        accepted.recv().await.expect("accepted");
        fs::remove_file(&path).expect("removed");
        listener.renew_if_missing().expect("bound again");
        UnixStream::connect(&path).await.expect("the socket is back");
        accepted.recv().await.expect("accepted");
        fs::remove_dir_all(path.parent().expect("one")).expect("removed");
        listener.renew_if_missing().expect("bound again");
        listener.renew_if_missing().expect("nothing to do");
        let inode = fs::symlink_metadata(&path).expect("there").ino();
        listener.renew_if_missing().expect("nothing to do");
        assert_eq!(fs::symlink_metadata(&path).expect("there").ino(), inode);
        UnixStream::connect(&path).await.expect("the folder is back");
        accepted.recv().await.expect("accepted");
        served.abort_all();
    }

    #[tokio::test]
    async fn no_socket_is_made_in_a_folder_that_others_may_write_to() {
        let temp = private_folder();
        let listener = PathListener::bind(temp.path().join("s.sock")).expect("bound");
        fs::remove_file(temp.path().join("s.sock")).expect("removed");
        fs::set_permissions(temp.path(), Permissions::from_mode(0o777)).expect("ours");
        let error = listener.renew_if_missing().expect_err("refused");
        assert!(error.to_string().contains("open to other users"), "{error}");
        fs::set_permissions(temp.path(), Permissions::from_mode(0o700)).expect("ours");
        listener.renew_if_missing().expect("bound again");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_connections_looks_by_itself() {
        let temp = private_folder();
        let path = temp.path().join("s.sock");
        let listener = PathListener::bind(path.clone()).expect("bound");
        fs::remove_file(&path).expect("removed");
        let waited = tokio::time::timeout(LOOK * 2, listener.accept()).await;
        assert!(waited.is_err(), "nobody came");
        assert!(path.exists());
    }
}
