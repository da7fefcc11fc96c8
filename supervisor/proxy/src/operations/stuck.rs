//! Calls that never return, told apart from calls that take their time. Pure functions.
//!
//! They end by their deadline in any case; until then they are shown, and restart their module where its config asks
//! for that. Streams are never stuck: they last for as long as somebody listens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mainstay_model::ModuleName;

use super::{CallInfo, Operation, Operations};

/// Factor by which a call that rightly lasts may take longer.
const PATIENT: u32 = 10;

/// Calls of one method of one resource that do not return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// The resource's full name.
    pub resource: Arc<str>,
    /// The method without its service, such as `GetReadings`.
    pub method: String,
    /// Time that the oldest call has been waiting.
    pub age: Duration,
    /// Time at which that began.
    pub since: SystemTime,
    /// Number of calls.
    pub calls: u32,
    /// Callers that wait: each once, in alphabetical order.
    pub callers: Vec<String>,
}

impl Stuck {
    /// `GetReadings for 41 s`.
    pub fn what(&self) -> String {
        format!("{} for {} s", self.method, self.age.as_secs())
    }
}

/// The stuck calls among those that run; `after` says for each module when a call in it counts as stuck.
pub fn stuck(operations: &Operations, after: impl Fn(&ModuleName) -> Option<Duration>, now: Instant) -> Vec<Stuck> {
    let calls = operations.calls(|operation, about| {
        let limit = about.module.as_ref().and_then(&after);
        limit.is_some_and(|limit| is_stuck(operation, about, limit, now))
    });
    group(calls, now)
}

fn is_stuck(operation: &Operation, about: &CallInfo, limit: Duration, now: Instant) -> bool {
    let patient = about.moves || method(operation) == "DoCommand";
    let limit = if patient { limit.saturating_mul(PATIENT) } else { limit };
    about.unary && now.saturating_duration_since(operation.begun) >= limit
}

fn method(operation: &Operation) -> &str {
    operation.method.rsplit('/').next().unwrap_or_default()
}

fn group(calls: Vec<(Operation, CallInfo)>, now: Instant) -> Vec<Stuck> {
    let mut groups: BTreeMap<(Arc<str>, String), (Stuck, BTreeSet<String>)> = BTreeMap::new();
    for (operation, about) in calls {
        let method = method(&operation).to_owned();
        let (stuck, callers) = groups
            .entry((about.resource.clone(), method.clone()))
            .or_insert_with(|| {
                let stuck = Stuck {
                    resource: about.resource.clone(),
                    method,
                    age: Duration::ZERO,
                    since: operation.started,
                    calls: 0,
                    callers: Vec::new(),
                };
                (stuck, BTreeSet::new())
            });
        stuck.age = stuck.age.max(now.saturating_duration_since(operation.begun));
        stuck.since = stuck.since.min(operation.started);
        stuck.calls += 1;
        callers.insert(about.caller.label());
    }
    let named = groups.into_values().map(|(stuck, callers)| Stuck {
        callers: callers.into_iter().collect(),
        ..stuck
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{ClientIdentity, Identity};
    use crate::operations::{OnStopAll, RunningCall};

    fn begin(operations: &Operations, method: &str, caller: Identity, unary: bool, moves: bool) -> RunningCall {
        let about = CallInfo {
            resource: "rdk:component:sensor/eye".into(),
            module: Some("eyes".into()),
            caller: Arc::new(caller),
            unary,
            moves,
        };
        operations.begin(None, method, None, OnStopAll::Cancel, Some(about))
    }

    fn client(port: u16) -> Identity {
        let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        Identity::Client(ClientIdentity::new(address(port), address(1)))
    }

    fn shown(operations: &Operations, seconds: u64) -> String {
        let after = |module: &ModuleName| (module.as_str() == "eyes").then_some(Duration::from_secs(30));
        // A moment later than the calls began, which is how they are looked at.
        let now = Instant::now() + Duration::from_secs(seconds);
        let list = stuck(operations, after, now);
        let texts: Vec<_> = list
            .iter()
            .map(|stuck| format!("{} x{} {}", stuck.what(), stuck.calls, stuck.callers.join("+")))
            .collect();
        texts.join(", ")
    }

    #[test]
    fn a_unary_call_is_stuck_after_its_time_and_a_patient_one_after_ten_times_that() {
        let operations = Operations::default();
        for (method, unary, moves, seconds, expected) in [
            ("/s.S/GetReadings", true, false, 29, ""),
            (
                "/s.S/GetReadings",
                true,
                false,
                30,
                "GetReadings for 30 s x1 module slam",
            ),
            ("/s.S/StreamTicks", false, false, 86_400, ""),
            ("/m.M/GoFor", true, true, 299, ""),
            ("/m.M/GoFor", true, true, 300, "GoFor for 300 s x1 module slam"),
            ("/s.S/DoCommand", true, false, 299, ""),
            ("/s.S/DoCommand", true, false, 301, "DoCommand for 301 s x1 module slam"),
        ] {
            let _running = begin(&operations, method, Identity::Module("slam".into()), unary, moves);
            assert_eq!(shown(&operations, seconds), expected, "{method} after {seconds} s");
        }
    }

    #[test]
    fn calls_of_one_method_are_told_together_and_their_callers_once_each() {
        let operations = Operations::default();
        let callers = [
            client(7),
            client(7),
            client(8),
            Identity::Module("slam".into()),
            Identity::Control,
        ];
        let _running = callers.map(|caller| begin(&operations, "/s.S/GetReadings", caller, true, false));
        let _other = begin(&operations, "/s.S/GetStatus", client(7), true, false);
        assert_eq!(
            shown(&operations, 41),
            "GetReadings for 41 s x5 127.0.0.1:7+127.0.0.1:8+module slam+the command line, GetStatus for 41 s x1 127.0.0.1:7"
        );
    }

    #[test]
    fn a_call_within_an_operation_is_seen_though_it_is_none_of_its_own() {
        let operations = Operations::default();
        let outer = begin(&operations, "/a.B/C", client(7), true, false);
        let about = operations.calls(|_, _| true)[0].1.clone();
        let inner = operations.begin(Some(outer.id), "/d.E/F", None, OnStopAll::Cancel, Some(about));
        assert_eq!(operations.list(None).len(), 1);
        assert_eq!(
            shown(&operations, 41),
            "C for 41 s x1 127.0.0.1:7, F for 41 s x1 127.0.0.1:7"
        );
        drop(inner);
        assert_eq!(shown(&operations, 41), "C for 41 s x1 127.0.0.1:7");
    }
}
