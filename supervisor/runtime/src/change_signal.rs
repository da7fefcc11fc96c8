//! News that something about the machine changed, for whoever follows it.

use std::sync::Arc;
use std::time::SystemTime;

use mainstay_core::events::{Event, EventKind, MAX_BYTES, MAX_EVENTS};
use tokio::sync::watch;

use crate::event_log::EventLog;
use crate::event_log::Weighted;

/// Tells everyone who follows the machine that something in the view changed, and what happened.
#[derive(Debug, Clone)]
pub struct ChangeSignal {
    news: Arc<watch::Sender<()>>,
    /// Events of the recent past, as far as they are kept.
    pub events: EventLog<Event>,
}

impl ChangeSignal {
    /// Says that something changed.
    pub fn tell(&self) {
        self.news.send_replace(());
    }

    /// Writes down what happened. Whoever follows the view is told by `tell`.
    pub fn record(&self, what: EventKind) {
        let at = SystemTime::now();
        self.events.push(Event { at, what });
    }

    /// A receiver that is marked changed after every `tell`.
    pub fn follow(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }
}

impl Default for ChangeSignal {
    fn default() -> Self {
        Self {
            news: Arc::new(watch::Sender::new(())),
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
        };
        texts + size_of::<Self>()
    }
}
