//! Brings records to their sinks, gathered for up to a second. One task, which alone waits for disk and network.

mod json;
mod sinks;

use std::path::PathBuf;
use std::time::Duration;

use mainstay_model::Config;
use mainstay_proto::opentelemetry::proto::common::v1::InstrumentationScope;
use mainstay_proto::opentelemetry::proto::resource::v1::Resource;
use mainstay_proto::opentelemetry::proto::trace::v1::{ResourceSpans, ScopeSpans, Span as Record};
use mainstay_trace::{Records, TraceItem, Traces, text};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::trace_export::sinks::Sinks;

/// Time for which records are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// Most records that are sent together.
const BATCH: usize = 512;
/// Longest time that the end of the machine waits for the last records.
const LAST: Duration = Duration::from_secs(1);

/// Destinations of traces, as the config says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkConfig {
    /// Into files with this path.
    pub disk: Option<PathBuf>,
    /// Onto the console.
    pub console: bool,
    /// `host:port` of a collector.
    pub collector: Option<String>,
}

/// Settings of the exporter, which may change at any time.
#[derive(Debug)]
pub struct ExportSettings {
    traces: Traces,
    /// VIAM_HOME, below which files go.
    home: PathBuf,
    wanted: watch::Sender<SinkConfig>,
}

impl ExportSettings {
    /// Records from now on as `config` says.
    pub fn set(&self, config: &Config) {
        let tracing = &config.tracing;
        let part = config.cloud.as_ref().map_or("local-config", |cloud| cloud.id.as_str());
        let wanted = if tracing.is_active() {
            let file = || self.home.join("trace").join(part).join("traces.jsonl");
            SinkConfig {
                disk: tracing.disk.then(file),
                console: tracing.console,
                collector: Some(tracing.otlp_endpoint.clone()).filter(|endpoint| !endpoint.is_empty()),
            }
        } else {
            SinkConfig::default()
        };
        self.traces.turn(wanted != SinkConfig::default());
        self.wanted.send_if_modified(|present| {
            let changed = *present != wanted;
            *present = wanted;
            changed
        });
    }
}

/// The task that brings records from the calls to the sinks.
#[derive(Debug)]
pub struct Exporter {
    records: Records,
    wanted: watch::Receiver<SinkConfig>,
}

impl Exporter {
    /// Exporter for the records of `traces`, and its settings: no sinks yet. Files go below `home`, VIAM_HOME.
    pub fn new(traces: Traces, records: Records, home: PathBuf) -> (Self, ExportSettings) {
        let (sender, wanted) = watch::channel(SinkConfig::default());
        let settings = ExportSettings {
            traces,
            home,
            wanted: sender,
        };
        (Self { records, wanted }, settings)
    }

    /// Runs until `stop`, and then until what is left was brought away, for a second at most.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut sinks = Sinks::default();
        while !stop.is_cancelled() {
            let wanted = self.wanted.borrow_and_update().clone();
            sinks = sinks.changed_to(wanted);
            tokio::select! {
                () = stop.cancelled() => break,
                // Whoever sets them may end first; the sinks then stay as they are.
                Ok(()) = self.wanted.changed() => {}
                first = self.records.next() => {
                    let Some(first) = first else { break };
                    let batch = self.gather(first, &stop).await;
                    self.write(&mut sinks, batch).await;
                }
            }
        }
        let rest = async {
            while let Some(first) = self.records.try_next() {
                let batch = self.gather(first, &stop).await;
                self.write(&mut sinks, batch).await;
            }
        };
        let _late = timeout(LAST, rest).await;
    }

    /// Items that come within a second of the first; when the machine ends, those that are there.
    async fn gather(&mut self, first: TraceItem, stop: &CancellationToken) -> Vec<TraceItem> {
        let until = Instant::now() + GATHER;
        let mut batch = vec![first];
        while batch.len() < BATCH {
            let next = match self.records.try_next() {
                Some(next) => Some(next),
                None if stop.is_cancelled() => None,
                None => tokio::select! {
                    () = stop.cancelled() => None,
                    next = timeout_at(until, self.records.next()) => next.ok().flatten(),
                },
            };
            let Some(next) = next else { break };
            batch.push(next);
        }
        batch
    }

    async fn write(&mut self, sinks: &mut Sinks, batch: Vec<TraceItem>) {
        let (mut own, mut spans) = (Vec::new(), Vec::new());
        for item in batch {
            match item {
                TraceItem::Own(record) => own.push(*record),
                TraceItem::Theirs(theirs) => spans.extend(theirs),
            }
        }
        sinks.log(&own);
        if !own.is_empty() {
            spans.push(ours(own));
        }
        sinks.write(spans).await;
        let lost = self.records.take_lost();
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
