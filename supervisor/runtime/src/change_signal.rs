//! Change notification of the machine, for its followers.

use std::sync::Arc;
use std::time::SystemTime;

use mainstay_model::ModuleName;
use mainstay_model::event::{Event, EventKind, NoteKind};
use tokio::sync::watch;

use crate::event_log::EventLog;
use crate::event_log::Weighted;

/// Events that are kept for those who come later.
const MAX_EVENTS: usize = 2000;
/// Bytes that these may take.
const MAX_BYTES: usize = 256 * 1024;

/// Notification of every follower that something in the view changed, with a log of events.
#[derive(Debug, Clone)]
pub struct ChangeSignal {
    changed: Arc<watch::Sender<()>>,
    /// Events of the recent past, as far as they are kept.
    pub events: EventLog<Event>,
}

impl ChangeSignal {
    /// Says that something changed.
    pub fn notify(&self) {
        self.changed.send_replace(());
    }

    /// Records an event. Followers of the view are woken by `notify`.
    pub fn record(&self, what: EventKind) {
        let at = SystemTime::now();
        self.events.push(Event { at, what });
    }

    /// Records something that was done to `resources`, or to all if there are none, because of `module` if one is named.
    pub fn note(
        &self,
        kind: NoteKind,
        text: impl Into<Arc<str>>,
        resources: Vec<Arc<str>>,
        module: Option<ModuleName>,
    ) {
        self.record(EventKind::Note {
            kind,
            text: text.into(),
            resources,
            module,
        });
    }

    /// A receiver that is marked changed after every `notify`.
    pub fn follow(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

impl Default for ChangeSignal {
    fn default() -> Self {
        Self {
            changed: Arc::new(watch::Sender::new(())),
            events: EventLog::new(MAX_EVENTS, MAX_BYTES),
        }
    }
}

impl Weighted for Event {
    fn weight(&self) -> usize {
        let texts = match &self.what {
            EventKind::Machine(_) => 0,
            // Names are shared with whatever has them; causes may be long and are not.
            EventKind::Module { cause, .. } | EventKind::Resource { cause, .. } => {
                cause.as_ref().map_or(0, |cause| cause.len())
            }
            EventKind::Note { text, resources, .. } => text.len() + resources.len() * size_of::<Arc<str>>(),
        };
        texts + size_of::<Self>()
    }
}
