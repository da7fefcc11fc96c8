//! News that something about the machine changed, for whoever follows it.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells everyone who follows the machine that something in the view changed.
#[derive(Debug, Clone)]
pub struct Changes(Arc<watch::Sender<()>>);

impl Changes {
    /// Says that something changed.
    pub fn tell(&self) {
        self.0.send_replace(());
    }

    /// A receiver that is marked changed after every `tell`.
    pub fn follow(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }
}
