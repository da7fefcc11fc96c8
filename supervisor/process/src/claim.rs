//! Claim of a runtime directory at the start of a machine: what a dead core left there, or left running, is put away first.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use tracing::warn;

use crate::guardian::{GuardianLink, leftovers};
use crate::runtime_dir;
use crate::runtime_dir::{RuntimeDir, RuntimeDirError};

/// Limit of a start's wait for the guardian of a dead core of the same config.
const ENDING: Duration = Duration::from_secs(5);
/// Pause between two looks whether it is done.
const ENDING_PAUSE: Duration = Duration::from_millis(20);
/// Limit of a start's wait for the leftovers of a core and guardian that died at once.
const LEFTOVERS_TIMEOUT: Duration = Duration::from_secs(3);

/// Takes the runtime directory at `path`, after whatever an earlier core left has been put away.
///
/// # Errors
/// Another core has it, or it cannot be made.
pub async fn claim(path: &Path, guardian_link: &GuardianLink) -> Result<RuntimeDir, RuntimeDirError> {
    // Before it exists, so that there is no moment in which nobody would remove it. A guardian that is gone is noticed
    // elsewhere.
    let _gone = guardian_link.send_directory(path);
    let patience = tokio::time::Instant::now() + ENDING;
    let directory = loop {
        match RuntimeDir::create(path) {
            Err(RuntimeDirError::Ending) if tokio::time::Instant::now() < patience => {
                tokio::time::sleep(ENDING_PAUSE).await;
            }
            done => break done?,
        }
    };
    if let Ok(lock) = directory.lock() {
        let _gone = guardian_link.send_lock(lock.as_fd());
    }
    let mut dead = match path.parent() {
        Some(base) => runtime_dir::sweep(base, path),
        None => Vec::new(),
    };
    if directory.was_stale() {
        dead.push(path.to_owned());
    }
    let keys = dead
        .iter()
        .filter_map(|path| path.file_name()?.to_str())
        .map(str::to_owned);
    for key in keys {
        let killed = if path.ends_with(&key) { directory.killed() } else { 0 };
        end_survivors(key, killed).await;
    }
    Ok(directory)
}

/// Ends what a machine left behind whose core and guardian were killed together; so many of it were `killed` with their cgroups.
async fn end_survivors(key: String, killed: usize) {
    let ended = tokio::task::spawn_blocking(move || leftovers::end(&key));
    match tokio::time::timeout(LEFTOVERS_TIMEOUT, ended).await {
        Ok(Ok((0, _))) if killed == 0 => {}
        Ok(Ok((count, left))) => {
            warn!(
                // Some of those in the cgroups may have been there still.
                count = count.max(killed),
                "processes of a machine that was killed together with its guardian were still running; ended them"
            );
            for process in left {
                warn!(pid = process.pid, name = process.name, "one of them does not end");
            }
        }
        Ok(Err(_)) | Err(_) => warn!("could not look in time for what a killed machine left behind"),
    }
}
