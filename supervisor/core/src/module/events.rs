//! Events about a module that are worth telling, made from changes of its published state.

use mainstay_model::event::EventKind;
use mainstay_model::module_state::ModuleState;
use mainstay_model::{ModuleName, ModulePhase};

/// Event for a change of a module's published state; `None` if it is a detail, such as a new figure. A failure is told
/// when it happens, before it is known what follows ([`failure`]).
pub fn of_module(name: &ModuleName, before: &ModuleState, after: &ModuleState) -> Option<EventKind> {
    let waits = after.next_try.is_some();
    let is_event = match after.phase {
        // A start is news when there is a process.
        ModulePhase::Starting => before.pid != after.pid && after.pid.is_some(),
        // The time of the next try is worked out anew each time, and differs by nothing that matters.
        ModulePhase::Unhealthy if waits => before.next_try.is_none() || before.last != after.last,
        // A process that is being ended was told of; one that will not be started again is news.
        ModulePhase::Unhealthy => after.pid.is_none() && before.error != after.error,
        phase => before.phase != phase,
    };
    let wrong = matches!(after.phase, ModulePhase::Unhealthy | ModulePhase::Unresponsive);
    is_event.then(|| EventKind::Module {
        name: name.clone(),
        phase: after.phase,
        pid: after.pid,
        cause: after.last.clone().filter(|_| wrong),
        next_try: after.next_try.filter(|_| wrong),
    })
}

/// A process of the module is of no use, or has ended, and why.
pub fn failure(name: &ModuleName, pid: Option<u32>, cause: &str) -> EventKind {
    EventKind::Module {
        name: name.clone(),
        phase: ModulePhase::Unhealthy,
        pid,
        cause: Some(cause.into()),
        next_try: None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_modules_life_is_told_without_repetitions() {
        let name = ModuleName::from("lidar");
        let mut state = ModuleState::pending(SystemTime::UNIX_EPOCH);
        let mut events = Vec::new();
        type Change = fn(&mut ModuleState);
        let changes: [Change; 12] = [
            |state| state.phase = ModulePhase::Starting,
            |state| state.pid = Some(7),
            |state| state.restarts = 3,
            |state| state.phase = ModulePhase::Ready,
            |state| (state.phase, state.error) = (ModulePhase::Unhealthy, Some("killed".into())),
            |state| state.pid = None,
            |state| (state.last, state.next_try) = (Some("killed".into()), Some(SystemTime::UNIX_EPOCH)),
            |state| state.next_try = Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1)),
            |state| (state.phase, state.next_try) = (ModulePhase::Starting, None),
            |state| state.pid = Some(8),
            |state| (state.phase, state.pid) = (ModulePhase::Unhealthy, None),
            |state| state.error = Some("gave up".into()),
        ];
        for change in changes {
            let before = state.clone();
            change(&mut state);
            if let Some(EventKind::Module {
                phase,
                pid,
                cause,
                next_try,
                ..
            }) = of_module(&name, &before, &state)
            {
                events.push(format!(
                    "{phase:?} {} {} {}",
                    pid.unwrap_or(0),
                    cause.as_deref().unwrap_or("-"),
                    next_try.is_some()
                ));
            }
        }
        assert_eq!(
            events,
            [
                "Starting 7 - false",
                "Ready 7 - false",
                "Unhealthy 0 killed true",
                "Starting 8 - false",
                "Unhealthy 0 killed false"
            ]
        );
    }
}
