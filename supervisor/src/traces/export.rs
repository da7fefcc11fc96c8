//! Brings records to their sinks, gathered for up to a second. One task, which alone waits for disk and network.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mainstay_proto::opentelemetry::proto::common::v1::InstrumentationScope;
use mainstay_proto::opentelemetry::proto::resource::v1::Resource;
use mainstay_proto::opentelemetry::proto::trace::v1::{ResourceSpans, ScopeSpans, Span as Record};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::sinks::Sinks;
use super::{Item, Shared, Wanted, text};

/// How long records are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// How many are sent together.
const BATCH: usize = 512;
/// How long the end of the machine waits for the last records.
const LAST: Duration = Duration::from_secs(1);

/// The way from the queue to the sinks.
#[derive(Debug)]
pub struct Exporter {
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<(usize, Item)>,
    changes: watch::Receiver<Wanted>,
}

impl Exporter {
    pub(super) fn new(
        shared: Arc<Shared>,
        inbox: mpsc::Receiver<(usize, Item)>,
        changes: watch::Receiver<Wanted>,
    ) -> Self {
        Self { shared, inbox, changes }
    }

    /// Runs until `stop`, and then until what is left was brought away, for a second at most.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut sinks = Sinks::default();
        while !stop.is_cancelled() {
            let wanted = self.changes.borrow_and_update().clone();
            sinks = sinks.changed_to(wanted);
            tokio::select! {
                () = stop.cancelled() => {}
                changed = self.changes.changed() => if changed.is_err() { break },
                Some(first) = self.inbox.recv() => {
                    let batch = self.gather(first, &stop).await;
                    self.write(&mut sinks, batch).await;
                }
            }
        }
        let rest = async {
            while let Ok(first) = self.inbox.try_recv() {
                let batch = self.gather(first, &stop).await;
                self.write(&mut sinks, batch).await;
            }
        };
        let _late = timeout(LAST, rest).await;
    }

    /// What comes within a second of the first; when the machine ends, what is there.
    async fn gather(&mut self, first: (usize, Item), stop: &CancellationToken) -> Vec<Item> {
        let until = Instant::now() + GATHER;
        let mut batch = vec![self.taken(first)];
        while batch.len() < BATCH {
            let next = match self.inbox.try_recv() {
                Ok(next) => Some(next),
                Err(_) if stop.is_cancelled() => None,
                Err(_) => tokio::select! {
                    () = stop.cancelled() => None,
                    next = timeout_at(until, self.inbox.recv()) => next.ok().flatten(),
                },
            };
            let Some(next) = next else { break };
            batch.push(self.taken(next));
        }
        batch
    }

    fn taken(&self, (size, item): (usize, Item)) -> Item {
        self.shared.waiting.fetch_sub(size, Ordering::Relaxed);
        item
    }

    async fn write(&mut self, sinks: &mut Sinks, batch: Vec<Item>) {
        let (mut own, mut spans) = (Vec::new(), Vec::new());
        for item in batch {
            match item {
                Item::Own(record) => own.push(*record),
                Item::Theirs(theirs) => spans.extend(theirs),
            }
        }
        sinks.tell(&own);
        if !own.is_empty() {
            spans.push(ours(own));
        }
        sinks.write(spans).await;
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            warn!(
                lost,
                "records of calls were lost: there were more than the sinks for traces take"
            );
        }
    }
}

/// Our own records in the form that everybody's have.
fn ours(spans: Vec<Record>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource {
            attributes: vec![
                text("service.name", "mainstay"),
                text("service.version", env!("CARGO_PKG_VERSION")),
            ],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "mainstay".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..InstrumentationScope::default()
            }),
            spans,
            schema_url: String::new(),
        }],
        schema_url: String::new(),
    }
}
