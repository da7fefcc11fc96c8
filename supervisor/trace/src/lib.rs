//! Traces: what the core records of each call, and what modules send of theirs, on the way to the exporter.
//!
//! Off, a call costs one look at a flag. On, a call gets a span of its own between its caller's and the module's;
//! nobody ever waits for the exporter: what finds no room is counted.
//!
//! Never decides where a call goes, and never sends a record anywhere: the exporter is the server's.
//!
//! Reading order: [`Traces`] and [`CallSpan`] (who records), [`Records`] (who takes them), `context` (the header).

mod context;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderValue};
use mainstay_proto::opentelemetry::proto::common::v1::{AnyValue, KeyValue, any_value::Value};
use mainstay_proto::opentelemetry::proto::trace::v1::{ResourceSpans, Span as Record, Status, span::SpanKind};
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Code;

pub use crate::context::TRACEPARENT;
use crate::context::{TraceContext, trace_state};

/// Records that may wait for the exporter.
const WAITING: usize = 4096;
/// Bytes that these may have together.
const MAX_WAITING_BYTES: usize = 4 << 20;

/// A record on its way to the exporter.
#[derive(Debug)]
pub enum TraceItem {
    /// Record of a call that the core passed on.
    Own(Box<Record>),
    /// Spans as a module sent them.
    Theirs(Vec<ResourceSpans>),
}

#[derive(Debug)]
struct Shared {
    on: AtomicBool,
    queue: mpsc::Sender<(usize, TraceItem)>,
    waiting: AtomicUsize,
    /// Records for which there was no room.
    lost: AtomicU64,
}

/// Takes records of calls.
#[derive(Debug, Clone)]
pub struct Traces(Arc<Shared>);

/// The records that [`Traces`] takes, for the one task that exports them.
#[derive(Debug)]
pub struct Records {
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<(usize, TraceItem)>,
}

impl Records {
    /// The next record, once there is one; `None` when none can come any more.
    pub async fn next(&mut self) -> Option<TraceItem> {
        let next = self.inbox.recv().await?;
        Some(self.dequeued(next))
    }

    /// The next record, if there is one.
    pub fn try_next(&mut self) -> Option<TraceItem> {
        let next = self.inbox.try_recv().ok()?;
        Some(self.dequeued(next))
    }

    /// Takes the number of records that found no room since the last call.
    pub fn take_lost(&self) -> u64 {
        self.shared.lost.swap(0, Ordering::Relaxed)
    }

    fn dequeued(&self, (size, item): (usize, TraceItem)) -> TraceItem {
        self.shared.waiting.fetch_sub(size, Ordering::Relaxed);
        item
    }
}

impl Traces {
    /// Traces that are off, and the records for whoever brings them to where they are wanted.
    pub fn new() -> (Self, Records) {
        let (queue, inbox) = mpsc::channel(WAITING);
        let shared = Arc::new(Shared {
            on: AtomicBool::new(false),
            queue,
            waiting: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
        });
        (Self(shared.clone()), Records { shared, inbox })
    }

    /// Records every call from now on, or none.
    pub fn turn(&self, on: bool) {
        self.0.on.store(on, Ordering::Relaxed);
    }

    /// A call begins. `None` if it is not recorded: then whatever trace it belongs to travels on unchanged.
    pub fn begin(&self, path: &str, headers: &HeaderMap) -> Option<CallSpan> {
        if !self.0.on.load(Ordering::Relaxed) {
            return None;
        }
        let parent = TraceContext::of(headers);
        let context = TraceContext::child_of(parent);
        let method = path.strip_prefix('/').unwrap_or(path);
        let record = context.sampled.then(|| {
            let mut record = Record {
                trace_id: context.trace.to_be_bytes().to_vec().into(),
                span_id: context.span.to_be_bytes().to_vec().into(),
                trace_state: trace_state(headers),
                parent_span_id: parent
                    .map(|parent| parent.span.to_be_bytes().to_vec().into())
                    .unwrap_or_default(),
                flags: 1,
                name: method.to_owned(),
                kind: SpanKind::Server.into(),
                start_time_unix_nano: nanoseconds(SystemTime::now()),
                attributes: vec![text("rpc.system", "grpc")],
                ..Record::default()
            };
            if let Some((service, method)) = method.rsplit_once('/') {
                record.attributes.push(text("rpc.service", service));
                record.attributes.push(text("rpc.method", method));
            }
            record
        });
        Some(CallSpan(Arc::new(OpenSpan {
            context,
            begun: Instant::now(),
            record: Mutex::new(record.map(Box::new)),
            shared: self.0.clone(),
        })))
    }

    /// Passes on what a module recorded. While nothing is recorded, it is let go.
    pub fn send(&self, spans: Vec<ResourceSpans>) {
        if self.0.on.load(Ordering::Relaxed) && !spans.is_empty() {
            let size = spans.iter().map(ResourceSpans::encoded_len).sum();
            self.0.put(size, TraceItem::Theirs(spans));
        }
    }
}

impl Shared {
    /// Waits for nothing: without room it is counted.
    fn put(&self, size: usize, item: TraceItem) {
        let room = self.waiting.fetch_add(size, Ordering::Relaxed) + size <= MAX_WAITING_BYTES;
        if !(room && self.queue.try_send((size, item)).is_ok()) {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The record of one call, while it runs. The first end that is told counts; without any it was given up by its caller.
#[derive(Debug, Clone)]
pub struct CallSpan(Arc<OpenSpan>);

#[derive(Debug)]
struct OpenSpan {
    context: TraceContext,
    begun: Instant,
    /// `None` when it ended, or if this trace is not recorded.
    record: Mutex<Option<Box<Record>>>,
    shared: Arc<Shared>,
}

impl CallSpan {
    /// Header for the module, so that its own spans come below this one.
    pub fn header(&self) -> HeaderValue {
        self.0.context.header()
    }

    /// Adds what the call is about: the resource's full name, its module, and who calls.
    pub fn about(&self, resource: &str, module: &str, caller: &str) {
        let mut record = self.0.record.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = &mut *record {
            for (key, value) in [
                ("viam.resource", resource),
                ("viam.module", module),
                ("viam.caller", caller),
            ] {
                if !value.is_empty() {
                    record.attributes.push(text(key, value));
                }
            }
        }
    }

    /// The call ended with this status.
    pub fn end(&self, status: &tonic::Status) {
        self.0.end(status.code(), status.message());
    }
}

impl OpenSpan {
    fn end(&self, code: Code, message: &str) {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut record) = record else { return };
        // A clock that is set meanwhile must not make a call take no time, or years.
        let took = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        record.end_time_unix_nano = record.start_time_unix_nano.saturating_add(took);
        record.attributes.push(KeyValue {
            key: "rpc.grpc.status_code".into(),
            value: Some(AnyValue {
                value: Some(Value::IntValue(i64::from(i32::from(code)))),
            }),
        });
        if code != Code::Ok {
            record.status = Some(Status {
                message: message.to_owned(),
                code: 2,
            });
        }
        let size = record.encoded_len();
        self.shared.put(size, TraceItem::Own(record));
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        self.end(Code::Cancelled, "given up by its caller");
    }
}

/// An attribute with a text.
pub fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
    }
}

/// Nanoseconds since 1970; 0 for a clock that stands before that.
fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
