//! Calls to a resource that is about to be taken out: they get a while to end by themselves, and are cut after that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_model::ModuleName;

use super::{CallInfo, OnStopAll, Operation, Operations};
use crate::status::PENDING_REMOVAL;

/// Pause after an end before the calls are looked at again: on a busy machine something ends all the time.
const CHECK_INTERVAL: Duration = Duration::from_millis(2);

/// Next action for a resource that is to be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainStep {
    /// No call is in it any more: take it out.
    Remove,
    /// Look again when a call ended, at that time at the latest.
    Wait {
        /// Time at which patience ends.
        until: Instant,
    },
    /// Patience is over: end what still runs, then take it out.
    Cut,
}

/// Decides what is due `now` for a resource with so many `calls` in flight, which may go on until `by`.
pub fn due(calls: usize, by: Instant, now: Instant) -> DrainStep {
    match calls {
        0 => DrainStep::Remove,
        _ if by <= now => DrainStep::Cut,
        _ => DrainStep::Wait { until: by },
    }
}

impl Operations {
    /// Returns when no call to `resource` runs any more, or at `by`, when what still runs is ended as UNAVAILABLE with
    /// `cause`. Calls that stop something are waited for, and never cut. New calls are somebody else's to refuse,
    /// before.
    pub async fn drain(&self, resource: &str, by: Instant, cause: &Arc<str>) {
        loop {
            let ended = self.0.ended.notified();
            tokio::pin!(ended);
            // Registered before the look, so that an end in between is not missed.
            ended.as_mut().enable();
            let calls = self.calls(|_, about| &*about.resource == resource).len();
            match due(calls, by, Instant::now()) {
                DrainStep::Remove => return,
                DrainStep::Cut => {
                    let reason = format!("{PENDING_REMOVAL}; {cause}").into();
                    self.cut(|about| &*about.resource == resource, &reason);
                    return;
                }
                DrainStep::Wait { until } => {
                    let until = tokio::time::Instant::from_std(until);
                    if tokio::time::timeout_at(until, ended).await.is_ok() {
                        let next_check = tokio::time::Instant::now() + CHECK_INTERVAL;
                        tokio::time::sleep_until(next_check.min(until)).await;
                    }
                }
            }
        }
    }

    /// Ends all calls to resources in `module` as UNAVAILABLE for `reason`, but those that stop something: it may recover,
    /// and is to stop then. They are remembered for a while, as if its connection had ended.
    pub fn cut_module(&self, module: &ModuleName, reason: &Arc<str>) {
        let cut = self.cut(|about| about.module.as_ref() == Some(module), reason);
        let (mut running, now) = (self.0.running(), Instant::now());
        for operation in cut {
            running.remember_broken(operation, now);
        }
    }

    /// Ends all calls that are concerned but those that stop something, and gives them.
    fn cut(&self, concerned: impl Fn(&CallInfo) -> bool, reason: &Arc<str>) -> Vec<Operation> {
        let mut cut = Vec::new();
        let mut running = self.0.running();
        let lists = &mut *running;
        for operation in lists.operations.values_mut().chain(lists.joined.values_mut()) {
            if operation.about.as_ref().is_some_and(&concerned) && operation.on_stop_all == OnStopAll::Cancel {
                operation.cut = Some(reason.clone());
                operation.cancel.cancel();
                cut.push(operation.clone());
            }
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::CallLease as _;
    use crate::identity::Identity;
    use crate::operations::RunningCall;

    #[test]
    fn an_empty_resource_is_taken_out_at_once_and_a_busy_one_at_its_time() {
        let now = Instant::now();
        let later = now + Duration::from_secs(2);
        for (calls, by, expected) in [
            (0, later, DrainStep::Remove),
            (0, now, DrainStep::Remove),
            (3, later, DrainStep::Wait { until: later }),
            (3, now, DrainStep::Cut),
        ] {
            assert_eq!(due(calls, by, now), expected, "{calls}");
        }
    }

    fn call(operations: &Operations, resource: &str, on_stop_all: OnStopAll) -> RunningCall {
        let about = CallInfo {
            resource: resource.into(),
            module: Some("m".into()),
            caller: Arc::new(Identity::Control),
            unary: true,
            moves: false,
        };
        operations.begin(None, "/m.M/GetPosition", None, on_stop_all, Some(about))
    }

    #[tokio::test]
    async fn calls_end_by_themselves_or_are_cut_and_only_those_of_that_resource() {
        let operations = Operations::default();
        let cause: Arc<str> = "module gripper is being restarted".into();
        let far = Instant::now() + Duration::from_secs(60);
        operations.drain("a", far, &cause).await;

        let (ending, other) = (
            call(&operations, "a", OnStopAll::Cancel),
            call(&operations, "b", OnStopAll::Cancel),
        );
        {
            let drained = operations.drain("a", far, &cause);
            tokio::pin!(drained);
            assert!(futures_util::poll!(drained.as_mut()).is_pending());
            drop(ending);
            drained.await;
        }

        let (lasting, stop) = (
            call(&operations, "a", OnStopAll::Cancel),
            call(&operations, "a", OnStopAll::Spare),
        );
        operations.drain("a", Instant::now(), &cause).await;
        assert!(lasting.cancel.is_cancelled());
        let reason = "resource is pending removal; module gripper is being restarted";
        assert_eq!(lasting.cut_reason().as_deref(), Some(reason));
        for spared in [&stop, &other] {
            assert!(!spared.cancel.is_cancelled());
            assert_eq!(spared.cut_reason(), None);
        }
        operations.cut_module(&"another".into(), &cause);
        assert!(!other.cancel.is_cancelled());
        operations.cut_module(&"m".into(), &cause);
        assert_eq!((other.cut_reason(), stop.cut_reason()), (Some(cause), None));
    }
}
