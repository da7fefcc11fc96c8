//! Configs that the main part hands down to its sub-parts: one task per part that has one, which hands it down whenever the file has
//! changed or another computer has become the part. The part keeps it, so nothing is said again when it is away and comes back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::remote::pause;
use mainstay_model::config::HandedDown;
use mainstay_model::{Config, Remote};
use mainstay_proto::mainstay::parts::v1::HandDownRequest;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::part::part_client;
use super::within;

/// Pause between two looks at a file.
const LOOK: Duration = Duration::from_secs(2);

/// What one part is handed.
#[derive(Debug, Clone, PartialEq)]
struct HandDown {
    remote: Remote,
    config: HandedDown,
}

/// Hands down what the applied config says, until `stop`.
pub async fn hand_down(mut applied: watch::Receiver<Arc<Config>>, stop: CancellationToken) {
    let mut tasks = JoinSet::new();
    let mut running: HashMap<String, (HandDown, AbortHandle)> = HashMap::new();
    loop {
        let wanted = wanted(&applied.borrow_and_update().clone());
        running.retain(|name, (handed, task)| {
            let stays = wanted.get(name) == Some(handed);
            if !stays {
                task.abort();
            }
            stays
        });
        for (name, handed) in wanted {
            running.entry(name).or_insert_with(|| {
                let task = tasks.spawn(handed.clone().run());
                (handed, task)
            });
        }
        while tasks.try_join_next().is_some() {}
        tokio::select! {
            () = stop.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
        }
    }
}

fn wanted(config: &Config) -> HashMap<String, HandDown> {
    let handed = config.parts.iter().filter_map(|part| {
        let of_part = |remote: &&Remote| remote.name == part.name && remote.part.is_some();
        let remote = config.remotes.iter().find(of_part)?.clone();
        let config = part.config.clone()?;
        Some((part.name.clone(), HandDown { remote, config }))
    });
    handed.collect()
}

impl HandDown {
    async fn run(self) {
        let (mut done, mut told, mut failures) = (None, None, 0_u32);
        loop {
            let outcome = match self.text().await {
                Ok(text) if done.as_ref() == Some(&text) => Ok(()),
                Ok(text) => self.send(&text).await.map(|()| {
                    info!(part = self.remote.name, "config handed down");
                    done = Some(text);
                }),
                Err(cause) => Err(cause),
            };
            let wait = match outcome {
                Ok(()) => {
                    (told, failures) = (None, 0);
                    LOOK
                }
                Err(cause) => {
                    failures += 1;
                    if told.as_ref() != Some(&cause) {
                        warn!(part = self.remote.name, "its config is not handed down: {cause}");
                        told = Some(cause);
                    }
                    pause(failures, self.remote.reconnect_interval, 1.0).max(LOOK)
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// The text, as it is now. The error is for people.
    async fn text(&self) -> Result<String, String> {
        let file = match &self.config {
            HandedDown::Inline(text) => return Ok(text.0.clone()),
            HandedDown::File(file) => file.clone(),
        };
        let path = file.display().to_string();
        let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(file)).await;
        let read = read.map_err(|broken| broken.to_string())?;
        read.map_err(|error| format!("cannot read `{path}`: {error}"))
    }

    /// Hands the text down on a connection of its own. The error is for people.
    async fn send(&self, text: &str) -> Result<(), String> {
        let mut part = part_client(&self.remote).await?;
        let request = HandDownRequest {
            config: text.to_owned(),
        };
        let handed = within(part.hand_down(request)).await;
        handed.map(|_| ()).map_err(|status| status.message().to_owned())
    }
}
