//! What happened to the machine, its modules and its resources, one thing after the other, with causes. Status, command
//! line and tests follow the same stream.

use std::sync::Arc;
use std::time::SystemTime;

use crate::feed::Weigh;
use crate::identity::ModuleName;
use crate::module::state::{ModulePhase, ModuleState};
use crate::route::resource::Phase;

/// Events that are kept for those who come later.
pub const MAX_EVENTS: usize = 2000;
/// Bytes that these may take.
pub const MAX_BYTES: usize = 256 * 1024;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The machine as a whole.
    Machine(MachineNews),
    /// A module came into another state.
    Module {
        /// Which.
        name: ModuleName,
        /// Its state now.
        phase: ModulePhase,
        /// Its process, while it has one.
        pid: Option<u32>,
        /// Why, if it is not ready; with the last lines that it printed.
        cause: Option<Arc<str>>,
        /// When it is started again.
        next_try: Option<SystemTime>,
    },
    /// A resource came into another state.
    Resource {
        /// Its full name.
        name: Arc<str>,
        /// Its state now.
        phase: Phase,
        /// True while calls to it have somewhere to go.
        reachable: bool,
        /// Why, if it is not READY.
        cause: Option<Arc<str>>,
        /// The module that it lives in, or would.
        module: Option<ModuleName>,
    },
}

/// What happens to the machine as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineNews {
    /// The first pass over the config is over.
    Running,
    /// It is to end.
    Stopping,
}

impl Weigh for Event {
    fn weight(&self) -> usize {
        let texts = match &self.what {
            What::Machine(_) => 0,
            // Names are shared with whatever has them; causes may be long and are not.
            What::Module { cause, .. } | What::Resource { cause, .. } => cause.as_ref().map_or(0, |cause| cause.len()),
        };
        texts + size_of::<Self>()
    }
}

/// What a change of a module's published state says to others; `None` if it is a detail, such as a new figure.
pub fn of_module(name: &ModuleName, before: &ModuleState, after: &ModuleState) -> Option<What> {
    let told_why = before.last != after.last;
    let (news, why) = match after.phase {
        // A start is news when there is a process. One that follows a failure at once brings the cause of that.
        ModulePhase::Starting => (told_why || (before.pid != after.pid && after.pid.is_some()), told_why),
        ModulePhase::Unhealthy | ModulePhase::Unresponsive => {
            let another = before.phase != after.phase || before.next_try != after.next_try;
            (told_why || another, true)
        }
        phase => (before.phase != phase, false),
    };
    news.then(|| What::Module {
        name: name.clone(),
        phase: after.phase,
        pid: after.pid,
        cause: after.last.clone().filter(|_| why),
        next_try: after.next_try,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modules_life_is_told_without_repetitions() {
        let name = ModuleName::from("lidar");
        let mut state = ModuleState {
            phase: ModulePhase::Pending,
            life: 0,
            pid: None,
            since: SystemTime::UNIX_EPOCH,
            started: None,
            last: None,
            last_at: None,
            start_time: None,
            restarts: 0,
            consecutive_failures: 0,
            error: None,
            next_try: None,
            handlers: Arc::default(),
            limits: Arc::default(),
        };
        let mut told = Vec::new();
        type Change = fn(&mut ModuleState);
        let changes: [Change; 11] = [
            |state| state.phase = ModulePhase::Starting,
            |state| state.pid = Some(7),
            |state| state.restarts = 3,
            |state| state.phase = ModulePhase::Ready,
            |state| (state.phase, state.last) = (ModulePhase::Unhealthy, Some("killed".into())),
            |state| state.last = Some("killed".into()),
            |state| (state.pid, state.next_try) = (None, Some(SystemTime::UNIX_EPOCH)),
            |state| state.phase = ModulePhase::Starting,
            |state| (state.pid, state.next_try) = (Some(8), None),
            |state| (state.phase, state.last, state.pid) = (ModulePhase::Starting, Some("again".into()), None),
            |state| state.pid = Some(9),
        ];
        for change in changes {
            let before = state.clone();
            change(&mut state);
            if let Some(What::Module {
                phase,
                pid,
                cause,
                next_try,
                ..
            }) = of_module(&name, &before, &state)
            {
                told.push(format!(
                    "{phase:?} {} {} {}",
                    pid.unwrap_or(0),
                    cause.as_deref().unwrap_or("-"),
                    next_try.is_some()
                ));
            }
        }
        assert_eq!(
            told,
            [
                "Starting 7 - false",
                "Ready 7 - false",
                "Unhealthy 7 killed false",
                "Unhealthy 0 killed true",
                "Starting 8 - false",
                "Starting 0 again false",
                "Starting 9 - false"
            ]
        );
    }
}
