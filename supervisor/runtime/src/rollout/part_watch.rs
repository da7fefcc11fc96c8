//! Watch over the files that make this computer a part of a machine: the command line changes them, too, and says so; then the config
//! is read again with what they say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay_parts::folder::PartFolder;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::module::file_mark::FileMark;

/// Pause between two looks, for whoever changes the files and says nothing. Longer than a thread that may block waits for more work,
/// or all of these would live for ever.
const LOOK: Duration = Duration::from_secs(15);

/// The watch.
#[derive(Debug)]
pub struct PartWatch {
    folder: PartFolder,
    seen: Option<FileMark>,
    /// True if the config was read last without them, because they could not be read.
    unread: Arc<AtomicBool>,
    /// Told by whoever has just changed the files.
    changed: Arc<Notify>,
    reread: mpsc::UnboundedSender<()>,
}

impl PartWatch {
    /// A watch, from the files as they are now, without what a handover has left that never ended. `reread` has the config read
    /// again. Blocks.
    pub fn new(folder: PartFolder, unread: Arc<AtomicBool>, reread: mpsc::UnboundedSender<()>) -> Self {
        if let Err(error) = folder.abandon() {
            warn!("what a handover of the main part's role has left cannot be cleared away: {error}");
        }
        Self {
            seen: FileMark::of(&folder.machine_file()).ok(),
            folder,
            unread,
            changed: Arc::default(),
            reread,
        }
    }

    /// To be told of a change at once.
    #[must_use]
    pub fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// Watches until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
                () = self.changed.notified() => {}
            }
            let looking = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            let Ok(looked) = looking.await else { return };
            self = looked;
        }
    }

    /// Has the config read again where the files have changed, or can be read after they could not: what kept them from it may
    /// leave no mark. What stays damaged was said once. Blocks.
    fn look(&mut self) {
        let mark = FileMark::of(&self.folder.machine_file()).ok();
        let is_readable = || self.unread.load(Ordering::Acquire) && self.folder.read().is_ok();
        if mark != self.seen || is_readable() {
            // That read tells anew.
            self.unread.store(false, Ordering::Release);
            self.seen = mark;
            let _ending = self.reread.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use mainstay_config::ConfigFiles;
    use mainstay_pki::authority::Authority;

    use super::*;
    use crate::rollout::loaded_config::{LoadedConfig, Overrides};

    #[test]
    fn files_that_could_not_be_read_once_are_read_again() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = PartFolder::at(place.path().join("part"));
        let ca = Authority::at(place.path().join("keys"));
        let now = SystemTime::now();
        ca.init("rover", &["rover".to_owned()], now).expect("made");
        let overrides = Overrides {
            part: Some(folder.clone()),
            ..Overrides::default()
        };
        let is_part = || {
            let read = LoadedConfig::read(&ConfigFiles::single("r.yaml", "{}"), &overrides);
            read.expect("usable").config.membership.is_some()
        };
        let (reread, mut reads) = mpsc::unbounded_channel();
        let mut watch = PartWatch::new(folder.clone(), overrides.part_unread.clone(), reread);
        folder.init("rover", &ca, now).expect("made");
        let away = place.path().join("away");
        fs::rename(folder.authority_file(), &away).expect("moved");

        watch.look();
        assert!(reads.try_recv().is_ok() && !is_part());
        watch.look();
        assert!(reads.try_recv().is_err(), "nothing has changed");
        fs::rename(&away, folder.authority_file()).expect("moved");
        watch.look();
        assert!(reads.try_recv().is_ok() && is_part());
        watch.look();
        assert!(reads.try_recv().is_err(), "it was read");
    }
}
