//! Consequences of a process that stops answering, or answers again.

use std::time::SystemTime;

use mainstay_core::module::lifecycle::{Input, State};
use tracing::{info, warn};

use super::Actor;
use crate::module::health::{HealthWatch, Notice, Subject};
use crate::module::problem::Problem;

impl Actor {
    /// Watches from now on whether the process answers on its present connection.
    pub(super) fn watch(&mut self) {
        let (Some(process), Some(upstream)) = (&self.process, &self.upstream) else {
            return;
        };
        self.watch = Some(HealthWatch::begin(Subject {
            entry: self.entry.clone(),
            pid: process.pid(),
            health: self.spec.policy.health.clone(),
            upstream: upstream.clone(),
            operations: self.operations.clone(),
            tail: self.tail.clone(),
        }));
    }

    /// Publishes a notice of the health watch, and turns it into an input of the lifecycle.
    pub(super) fn handle_notice(&mut self, news: Notice) -> Input {
        let (name, life) = (&self.spec.name, self.lifecycle.life());
        match news {
            Notice::Unresponsive(what) => {
                warn!(module = %name, "module {what}");
                let cause = format!("module {name} {what}");
                self.entry.publish(|state| {
                    state.error = Some(cause.into());
                    state.last = Some(what.into());
                    state.last_at = Some(SystemTime::now());
                });
                Input::Unresponsive { life }
            }
            Notice::Responded => {
                if self.lifecycle.state() == State::Unresponsive {
                    info!(module = %name, "module answers again");
                    self.entry.publish(|state| {
                        state.last = Some("answers again".into());
                        state.last_at = Some(SystemTime::now());
                    });
                }
                Input::Responded { life }
            }
            Notice::Hung { why, evidence } => {
                let lies = evidence
                    .as_ref()
                    .map(|folder| format!("; evidence in {}", folder.display()));
                self.fault(Problem {
                    wire: format!("module {name} {why}{}", lies.unwrap_or_default()),
                    short: why,
                    unstarted: false,
                });
                if let Some(folder) = evidence {
                    self.entry.history().evidence(life, folder);
                }
                Input::Hung { life }
            }
        }
    }
}
