//! Brings the last good config and the rejected ones to the disk, one after the other, on a thread that may block. What could
//! not be kept, or was removed from the disk, is kept again by itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use mainstay_config::ConfigFiles;
use mainstay_config::store::LastGood;
use mainstay_config::store::last_good::UNUSED;
use tokio::sync::mpsc;
use tracing::info;

/// Pause before the disk is looked at again. A disk that was full and has room is written to within half a minute.
const LOOK: Duration = Duration::from_secs(10);

/// Write request.
#[derive(Debug)]
pub enum StoreJob {
    /// Keep this as the last good config.
    Keep(Arc<ConfigFiles>),
    /// Record this as taken back, for these reasons.
    Reject(Arc<ConfigFiles>, Vec<String>),
    /// A text of this digest was not taken back.
    Pardon(Arc<str>),
}

/// Outcome of a write: the number of what was kept, if something was to be.
pub type WriteOutcome = Result<Option<u64>, String>;

/// Writer of the store.
#[derive(Debug)]
pub struct StoreWriter {
    store: Arc<LastGood>,
    jobs: Sender<StoreJob>,
    results: mpsc::UnboundedReceiver<WriteOutcome>,
}

/// The last config that is to be kept.
#[derive(Debug, Clone)]
struct Kept {
    bundle: Arc<ConfigFiles>,
    /// Number under which it is on the disk; `None` as long as it is not.
    revision: Option<u64>,
    /// Its number, or that of the one before it.
    least: u64,
}

impl StoreWriter {
    /// Writer of `store`, that of `config`, which holds `kept` with its number.
    pub fn new(store: LastGood, config: &Path, kept: Option<(Arc<ConfigFiles>, u64)>) -> Self {
        Self::looking(store, config, kept, LOOK)
    }

    fn looking(store: LastGood, config: &Path, kept: Option<(Arc<ConfigFiles>, u64)>, pause: Duration) -> Self {
        let store = Arc::new(store);
        let (jobs, inbox) = channel();
        let (outbox, results) = mpsc::unbounded_channel();
        let kept = kept.map(|(bundle, revision)| Kept {
            bundle,
            revision: Some(revision),
            least: revision,
        });
        let (shared, config, answers) = (store.clone(), config.to_owned(), outbox.clone());
        // A thread of its own, so that the number of threads stays the same.
        let thread = thread::Builder::new()
            .name("store".into())
            .stack_size(256 * 1024)
            .spawn(move || write(&shared, &config, kept, &inbox, &answers, pause));
        if let Err(error) = thread {
            let _told = outbox.send(Err(format!("no thread to write it: {error}")));
        }
        Self { store, jobs, results }
    }

    /// Store that is written to.
    pub fn store(&self) -> Arc<LastGood> {
        self.store.clone()
    }

    /// Queues a write, after what was sent before.
    pub fn send(&self, job: StoreJob) {
        let _broken = self.jobs.send(job);
    }

    /// The next result.
    pub async fn next(&mut self) -> Option<WriteOutcome> {
        self.results.recv().await
    }

    /// Waits until all is written.
    pub async fn finish(self) {
        let Self { jobs, mut results, .. } = self;
        drop(jobs);
        while results.recv().await.is_some() {}
    }
}

fn write(
    store: &LastGood,
    config: &Path,
    mut kept: Option<Kept>,
    inbox: &Receiver<StoreJob>,
    outbox: &mpsc::UnboundedSender<WriteOutcome>,
    pause: Duration,
) {
    prune(store);
    loop {
        let (after, outcome) = match inbox.recv_timeout(pause) {
            Ok(job) => run(store, kept, job),
            Err(RecvTimeoutError::Timeout) => look(store, config, kept),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        kept = after;
        let _ending = outcome.map(|outcome| outbox.send(outcome));
    }
}

fn run(store: &LastGood, kept: Option<Kept>, job: StoreJob) -> (Option<Kept>, Option<WriteOutcome>) {
    match job {
        StoreJob::Keep(bundle) => {
            let least = kept.map_or(0, |kept| kept.least);
            let kept = Kept {
                bundle,
                revision: None,
                least,
            };
            keep(store, kept)
        }
        StoreJob::Reject(bundle, reasons) => {
            let outcome = store.reject(&bundle, &reasons);
            (
                kept,
                Some(outcome.map(|()| None).map_err(|problem| problem.to_string())),
            )
        }
        StoreJob::Pardon(digest) => {
            store.pardon(&digest);
            (kept, Some(Ok(None)))
        }
    }
}

fn keep(store: &LastGood, kept: Kept) -> (Option<Kept>, Option<WriteOutcome>) {
    let outcome = store.keep_as(&kept.bundle, kept.revision.unwrap_or(kept.least));
    let revision = outcome.as_ref().ok().copied();
    let kept = Kept {
        revision,
        least: revision.unwrap_or(kept.least),
        ..kept
    };
    (
        Some(kept),
        Some(outcome.map(Some).map_err(|problem| problem.to_string())),
    )
}

/// Keeps again what is not on the disk, or not any more.
fn look(store: &LastGood, config: &Path, kept: Option<Kept>) -> (Option<Kept>, Option<WriteOutcome>) {
    match kept {
        Some(kept) if kept.revision.is_none() || !store.holds_something() => keep(store, kept),
        kept => {
            store.mark_used(config);
            (kept, None)
        }
    }
}

/// Removes what configs left that are gone.
fn prune(store: &LastGood) {
    for config in store.prune_others(UNUSED) {
        info!(
            config = %config.display(),
            "removed the last good config of a machine that was not used for 90 days, and whose config is gone"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_the_disk_did_not_take_or_lost_is_written_at_the_next_look() {
        let temp = tempfile::tempdir().expect("a folder");
        let state = temp.path().join("state");
        // A file where the folder should be, as good as a full disk.
        fs::write(&state, "").expect("written");
        let store = LastGood::within(Some(&state), Path::new("/robots/rover.yaml"));
        let pause = Duration::from_millis(5);
        let mut writer = StoreWriter::looking(store, Path::new("/robots/rover.yaml"), None, pause);
        writer.send(StoreJob::Keep(Arc::new(ConfigFiles::single("/robots/rover.yaml", "a"))));
        assert!(writer.next().await.expect("an outcome").is_err());
        fs::remove_file(&state).expect("removed");
        let soon = Duration::from_secs(30);
        let mut outcome = timeout(soon, writer.next())
            .await
            .expect("in time")
            .expect("an outcome");
        while outcome.is_err() {
            outcome = timeout(soon, writer.next())
                .await
                .expect("in time")
                .expect("an outcome");
        }
        assert_eq!(outcome, Ok(Some(1)));
        fs::rename(&state, temp.path().join("away")).expect("moved");
        let outcome = timeout(soon, writer.next())
            .await
            .expect("in time")
            .expect("an outcome");
        assert_eq!(outcome, Ok(Some(1)));
        assert!(writer.store().holds_something());
        writer.finish().await;
    }
}
