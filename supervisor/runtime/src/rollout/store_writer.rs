//! Brings the last good config and the rejected ones to the disk, one after the other, on a thread that may block. What could
//! not be kept, or was removed from the disk, is kept again by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_config::ConfigFiles;
use mainstay_config::store::LastGood;
use mainstay_config::store::last_good::UNUSED;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
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
    jobs: mpsc::UnboundedSender<StoreJob>,
    results: mpsc::UnboundedReceiver<WriteOutcome>,
    task: JoinSet<()>,
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
        let store = Arc::new(store);
        let (jobs, inbox) = mpsc::unbounded_channel();
        let (outbox, results) = mpsc::unbounded_channel();
        let kept = kept.map(|(bundle, revision)| Kept {
            bundle,
            revision: Some(revision),
            least: revision,
        });
        let mut task = JoinSet::new();
        task.spawn(write(store.clone(), config.to_owned(), kept, inbox, outbox));
        let others = store.clone();
        task.spawn_blocking(move || prune(&others));
        Self {
            store,
            jobs,
            results,
            task,
        }
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
        let Self { jobs, mut task, .. } = self;
        drop(jobs);
        while task.join_next().await.is_some() {}
    }
}

async fn write(
    store: Arc<LastGood>,
    config: PathBuf,
    mut kept: Option<Kept>,
    mut inbox: mpsc::UnboundedReceiver<StoreJob>,
    outbox: mpsc::UnboundedSender<WriteOutcome>,
) {
    loop {
        let job = match timeout(LOOK, inbox.recv()).await {
            Ok(Some(job)) => Some(job),
            Ok(None) => return,
            Err(_) => None,
        };
        let (store, config, before) = (store.clone(), config.clone(), kept.clone());
        let work = tokio::task::spawn_blocking(move || match job {
            Some(job) => run(&store, before, job),
            None => look(&store, &config, before),
        });
        match work.await {
            Ok((after, outcome)) => {
                kept = after;
                let _ending = outcome.map(|outcome| outbox.send(outcome));
            }
            Err(broken) => {
                let _ending = outbox.send(Err(broken.to_string()));
            }
        }
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

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_the_disk_did_not_take_or_lost_is_written_within_half_a_minute() {
        let temp = tempfile::tempdir().expect("a folder");
        let state = temp.path().join("state");
        // A file where the folder should be, as good as a full disk.
        fs::write(&state, "").expect("written");
        let store = LastGood::within(Some(&state), Path::new("/robots/rover.yaml"));
        let mut writer = StoreWriter::new(store, Path::new("/robots/rover.yaml"), None);
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
        fs::remove_dir_all(&state).expect("removed");
        let outcome = timeout(soon, writer.next())
            .await
            .expect("in time")
            .expect("an outcome");
        assert_eq!(outcome, Ok(Some(1)));
        assert!(writer.store().holds_something());
        writer.finish().await;
    }
}
