//! Watch over the files that make this computer a part of a machine: the command line changes them, too, and says so; then the config
//! is read again with what they say.

use std::path::PathBuf;
use std::sync::Arc;
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
    file: PathBuf,
    seen: Option<FileMark>,
    /// Told by whoever has just changed the files.
    changed: Arc<Notify>,
    reread: mpsc::UnboundedSender<()>,
}

impl PartWatch {
    /// A watch, from the files as they are now, without what a handover has left that never ended. `reread` has the config read
    /// again. Blocks.
    pub fn new(folder: &PartFolder, reread: mpsc::UnboundedSender<()>) -> Self {
        if let Err(error) = folder.abandon() {
            warn!("what a handover of the main part's role has left cannot be cleared away: {error}");
        }
        let file = folder.machine_file();
        Self {
            seen: FileMark::of(&file).ok(),
            file,
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
            let file = self.file.clone();
            let Ok(mark) = tokio::task::spawn_blocking(move || FileMark::of(&file).ok()).await else {
                continue;
            };
            if mark != self.seen {
                self.seen = mark;
                let _ending = self.reread.send(());
            }
        }
    }
}
