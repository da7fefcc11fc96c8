//! Brings the last good config and the rejected ones to the disk, one after the other, on a thread that may block.

use std::sync::Arc;

use mainstay_config::ConfigFiles;
use mainstay_config::store::LastGood;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

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

impl StoreWriter {
    /// Writer of `store`.
    pub fn new(store: LastGood) -> Self {
        let store = Arc::new(store);
        let (jobs, mut inbox) = mpsc::unbounded_channel();
        let (outbox, results) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        let shared = store.clone();
        task.spawn(async move {
            while let Some(job) = inbox.recv().await {
                let store = shared.clone();
                let written = tokio::task::spawn_blocking(move || run(&store, &job)).await;
                let _ending = outbox.send(written.unwrap_or_else(|broken| Err(broken.to_string())));
            }
        });
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

fn run(store: &LastGood, job: &StoreJob) -> WriteOutcome {
    let text = |problem: mainstay_config::store::StoreError| problem.to_string();
    match job {
        StoreJob::Keep(bundle) => store.keep(bundle).map(Some).map_err(text),
        StoreJob::Reject(bundle, reasons) => store.reject(bundle, reasons).map(|()| None).map_err(text),
        StoreJob::Pardon(digest) => {
            store.pardon(digest);
            Ok(None)
        }
    }
}
