//! Reader of texts: those that the config file comes to hold, and those that clients bring.

use std::sync::Arc;
use std::time::Duration;

use mainstay_config::store::{ConfigWatch, LastGood};
use mainstay_config::{ConfigFiles, Refused};
use mainstay_core::rollout::Origin;
use mainstay_model::apply_state::Progress;
use tokio::sync::mpsc;

use super::loaded_config::{LoadedConfig, Overrides};
use super::progress;

/// Reason for reading a text.
#[derive(Debug)]
pub(super) struct ReadReason {
    pub(super) origin: Origin,
    pub(super) forced: bool,
    pub(super) revert_after: Option<Duration>,
    pub(super) progress: Option<mpsc::UnboundedSender<Progress>>,
}

/// A text that was read.
#[derive(Debug)]
pub(super) struct ReadText {
    number: u64,
    pub(super) reason: ReadReason,
    /// The config, and the reasons for which it was taken back before.
    pub(super) outcome: Result<(LoadedConfig, Option<Vec<String>>), Refused>,
}

/// Watch over the file, and the texts that are being read.
#[derive(Debug)]
pub(super) struct ConfigReader {
    pub(super) watch: ConfigWatch,
    pub(super) overrides: Arc<Overrides>,
    store: Arc<LastGood>,
    /// Counts what the file was seen to be: only the newest counts.
    observation: u64,
    reading: usize,
    /// True if a caller wants the file read, whatever was done about it before.
    forced: bool,
}

impl ConfigReader {
    /// Nothing is read yet.
    pub(super) fn new(watch: ConfigWatch, overrides: Arc<Overrides>, store: Arc<LastGood>) -> Self {
        Self {
            watch,
            overrides,
            store,
            observation: 0,
            reading: 0,
            forced: false,
        }
    }

    /// Has the file read, whatever was done about it before.
    pub(super) fn look_again(&mut self) {
        self.forced = true;
        self.watch.look_again();
    }

    /// The file was seen to hold something else; what is still being read of it is older. True if a look was asked for.
    pub(super) fn see(&mut self) -> bool {
        self.observation += 1;
        std::mem::take(&mut self.forced)
    }

    /// Reads a text on a thread that may block.
    pub(super) fn read(&mut self, bundle: ConfigFiles, reason: ReadReason) -> impl Future<Output = ReadText> + use<> {
        self.reading += 1;
        let number = self.observation;
        let (overrides, store) = (self.overrides.clone(), self.store.clone());
        async move {
            let outcome = match progress::read(bundle, &overrides).await {
                Ok(loaded) => {
                    let digest = loaded.digest.clone();
                    let asked = tokio::task::spawn_blocking(move || store.rejection(&digest));
                    let rejection = asked.await.ok().flatten();
                    Ok((loaded, rejection.map(|rejection| rejection.reasons)))
                }
                Err(refused) => Err(refused),
            };
            ReadText {
                number,
                reason,
                outcome,
            }
        }
    }

    /// A text was read. True if it counts: what the file holds now was not seen after it.
    pub(super) fn finish(&mut self, text: &ReadText) -> bool {
        self.reading -= 1;
        text.reason.origin != Origin::File || text.number == self.observation
    }

    /// True while something is to be read.
    pub(super) fn is_busy(&self) -> bool {
        self.forced || self.reading > 0
    }
}
