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
pub type Kept = Result<Option<u64>, String>;

/// The one who writes.
#[derive(Debug)]
pub struct StoreWriter {
    store: Arc<LastGood>,
    errands: mpsc::UnboundedSender<StoreJob>,
    results: mpsc::UnboundedReceiver<Kept>,
    task: JoinSet<()>,
}

impl StoreWriter {
    /// Writer of `store`.
    pub fn new(store: LastGood) -> Self {
        let store = Arc::new(store);
        let (errands, mut inbox) = mpsc::unbounded_channel();
        let (outbox, results) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        let shared = store.clone();
        task.spawn(async move {
            while let Some(errand) = inbox.recv().await {
                let store = shared.clone();
                let written = tokio::task::spawn_blocking(move || run(&store, &errand)).await;
                let _ending = outbox.send(written.unwrap_or_else(|broken| Err(broken.to_string())));
            }
        });
        Self {
            store,
            errands,
            results,
            task,
        }
    }

    /// Store that is written to.
    pub fn store(&self) -> Arc<LastGood> {
        self.store.clone()
    }

    /// Queues a write, after what was sent before.
    pub fn send(&self, errand: StoreJob) {
        let _broken = self.errands.send(errand);
    }

    /// The next result.
    pub async fn next(&mut self) -> Option<Kept> {
        self.results.recv().await
    }

    /// Waits until all is written.
    pub async fn finish(self) {
        let Self { errands, mut task, .. } = self;
        drop(errands);
        while task.join_next().await.is_some() {}
    }
}

fn run(store: &LastGood, errand: &StoreJob) -> Kept {
    let text = |problem: mainstay_config::store::Problem| problem.to_string();
    match errand {
        StoreJob::Keep(bundle) => store.keep(bundle).map(Some).map_err(text),
        StoreJob::Reject(bundle, reasons) => store.reject(bundle, reasons).map(|()| None).map_err(text),
        StoreJob::Pardon(digest) => {
            store.pardon(digest);
            Ok(None)
        }
    }
}
