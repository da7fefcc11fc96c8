//! Operations: every call that runs now, so that it can be seen, waited for and cancelled; and the calls to resources
//! among them, so that one that never returns is noticed (see `stuck`), and that a resource is not taken out under them
//! (`drain`).

pub mod drain;
pub mod stuck;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use mainstay_model::ModuleName;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::call::CallLease;
use crate::identity::Identity;
use crate::in_flight::InFlightCall;
use crate::upstream::Upstream;

/// Running call.
#[derive(Debug, Clone)]
pub struct Operation {
    /// `/package.Service/Method`.
    pub method: String,
    /// Start of the call.
    pub started: SystemTime,
    /// The session that answers for it, if any.
    pub session: Option<Uuid>,
    /// Start of the call by a clock that nobody sets.
    pub begun: Instant,
    /// Caller and resource; `None` for the core's own services.
    pub about: Option<CallInfo>,
    cancel: CancellationToken,
    /// Reason why the core ended it, if it did.
    cut: Option<Arc<str>>,
    on_stop_all: OnStopAll,
}

/// Description of a call to a resource.
#[derive(Debug, Clone)]
pub struct CallInfo {
    /// The resource's full name.
    pub resource: Arc<str>,
    /// The module that holds it.
    pub module: Option<ModuleName>,
    /// Identity of the caller.
    pub caller: Arc<Identity>,
    /// True if one message goes in and one out: such a call is expected to return.
    pub unary: bool,
    /// True if it sets something moving, and may rightly last as long as that moves.
    pub moves: bool,
}

/// Effect of StopAll on an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStopAll {
    /// Cancels it: it may set something moving.
    Cancel,
    /// Leaves it alone: it stops something, or keeps a session alive. A stop always gets through, so the end of another
    /// operation does not end this one either.
    Spare,
}

#[derive(Debug, Default)]
struct Shared {
    running: Mutex<Lists>,
    /// Told at every end; without waiters this costs one atomic read.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Lists {
    operations: HashMap<Uuid, Operation>,
    /// Calls that are part of an operation which runs already.
    joined: HashMap<u64, Operation>,
    /// Number of operations that have joined so far.
    count: u64,
    /// The last calls that ended because the module's connection did, and when.
    broken: VecDeque<(Instant, Operation)>,
}

/// Calls that are remembered after their module went away under them.
const MAX_BROKEN: usize = 64;

impl Lists {
    fn remember_broken(&mut self, operation: Operation, ended: Instant) {
        if self.broken.len() == MAX_BROKEN {
            self.broken.pop_front();
        }
        self.broken.push_back((ended, operation));
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, Lists> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running operations of the machine.
#[derive(Debug, Clone, Default)]
pub struct Operations(Arc<Shared>);

/// A call's entry in the list. Dropping it is the end of the operation.
#[derive(Debug)]
pub struct RunningCall {
    shared: Arc<Shared>,
    /// Id: the caller's own, or a new one.
    pub id: Uuid,
    /// Cancelled when somebody cancels the operation.
    pub cancel: CancellationToken,
    /// A call made on behalf of an operation that runs already is part of that one, under a number of its own.
    joined: Option<u64>,
    /// Connection that the call takes.
    upstream: Option<Upstream>,
    /// The call's share of what its caller may have in flight.
    pub(crate) room: Option<InFlightCall>,
}

impl RunningCall {
    /// The call goes to a module through this connection: if it ends with that, it is remembered for a while.
    pub fn through(&mut self, upstream: &Upstream) {
        self.upstream = Some(upstream.clone()).filter(|upstream| !upstream.is_closed());
    }
}

impl CallLease for RunningCall {
    fn cut_reason(&self) -> Option<Arc<str>> {
        let running = self.shared.running();
        let operation = match self.joined {
            Some(number) => running.joined.get(&number),
            None => running.operations.get(&self.id),
        };
        operation?.cut.clone()
    }
}

impl Operations {
    /// A call begins. `given` is the id that the caller sent; one that runs already is joined. `about` says which
    /// resource it is for.
    pub fn begin(
        &self,
        given: Option<Uuid>,
        method: &str,
        session: Option<Uuid>,
        on_stop_all: OnStopAll,
        about: Option<CallInfo>,
    ) -> RunningCall {
        let mut running = self.0.running();
        let id = given.unwrap_or_else(Uuid::new_v4);
        let (cancel, joined) = match running.operations.get(&id) {
            // Who cleans up after a cancelled call stops things on behalf of that very call.
            Some(_outer) if on_stop_all == OnStopAll::Spare => (CancellationToken::new(), true),
            // Cancelling the outer call cancels this one; ending this one says nothing about the outer.
            Some(outer) => (outer.cancel.child_token(), true),
            None => (CancellationToken::new(), false),
        };
        let operation = Operation {
            method: method.to_owned(),
            started: SystemTime::now(),
            session,
            begun: Instant::now(),
            about,
            cancel: cancel.clone(),
            cut: None,
            on_stop_all,
        };
        let joined = if joined {
            running.count += 1;
            let number = running.count;
            running.joined.insert(number, operation);
            Some(number)
        } else {
            running.operations.insert(id, operation);
            None
        };
        drop(running);
        RunningCall {
            shared: self.0.clone(),
            id,
            cancel,
            joined,
            upstream: None,
            room: None,
        }
    }

    /// The calls to resources in `module` that run, or that ended since `since` because its connection did; each with
    /// how long it had been running.
    pub fn in_flight(&self, module: &ModuleName, since: Instant, now: Instant) -> Vec<(Operation, CallInfo, Duration)> {
        let running = self.0.running();
        let broken = running.broken.iter().filter(|(ended, _)| *ended >= since);
        let all = running.operations.values().chain(running.joined.values());
        all.map(|operation| (now, operation))
            .chain(broken.map(|(ended, operation)| (*ended, operation)))
            .filter_map(|(until, operation)| {
                let about = operation.about.as_ref()?;
                let ours = about.module.as_ref() == Some(module);
                let age = until.saturating_duration_since(operation.begun);
                ours.then(|| (operation.clone(), about.clone(), age))
            })
            .collect()
    }

    /// Every call to a resource that runs, parts of other operations included, of which `wanted` says so.
    pub fn calls(&self, wanted: impl Fn(&Operation, &CallInfo) -> bool) -> Vec<(Operation, CallInfo)> {
        let running = self.0.running();
        let all = running.operations.values().chain(running.joined.values());
        all.filter_map(|operation| {
            let about = operation.about.as_ref().filter(|about| wanted(operation, about))?;
            Some((operation.clone(), about.clone()))
        })
        .collect()
    }

    /// Operations that run, oldest first, but for `asking`.
    pub fn list(&self, asking: Option<Uuid>) -> Vec<(Uuid, Operation)> {
        let running = self.0.running();
        let others = running.operations.iter().filter(|(id, _)| Some(**id) != asking);
        let mut list: Vec<_> = others.map(|(id, operation)| (*id, operation.clone())).collect();
        list.sort_by_key(|(id, operation)| (operation.started, *id));
        list
    }

    /// Cancels an operation. One that does not run is over already.
    pub fn cancel(&self, id: Uuid) {
        if let Some(operation) = self.0.running().operations.get(&id) {
            operation.cancel.cancel();
        }
    }

    /// Cancels all but `asking` and those that are spared.
    pub fn cancel_all(&self, asking: Option<Uuid>) {
        let all = self.list(asking).into_iter().map(|(_, operation)| operation);
        for operation in all.filter(|operation| operation.on_stop_all == OnStopAll::Cancel) {
            operation.cancel.cancel();
        }
    }

    /// Returns when no operation has this id (any more).
    pub async fn ended(&self, id: Uuid) {
        loop {
            let ended = self.0.ended.notified();
            tokio::pin!(ended);
            // Registered before the look, so that an end in between is not missed.
            ended.as_mut().enable();
            if !self.0.running().operations.contains_key(&id) {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        let mut running = self.shared.running();
        let ended = match self.joined {
            Some(number) => running.joined.remove(&number),
            None => running.operations.remove(&self.id),
        };
        let broken = self.upstream.take().is_some_and(|upstream| upstream.is_closed());
        if let Some(operation) = ended.filter(|_| broken) {
            running.remember_broken(operation, Instant::now());
        }
        drop(running);
        self.shared.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_operation_lasts_as_long_as_its_call() {
        let operations = Operations::default();
        let call = operations.begin(None, "/a.B/C", None, OnStopAll::Cancel, None);
        let asking = operations.begin(None, "/r.R/GetOperations", None, OnStopAll::Cancel, None);
        let listed: Vec<_> = operations
            .list(Some(asking.id))
            .into_iter()
            .map(|(id, operation)| (id, operation.method))
            .collect();
        assert_eq!(listed, [(call.id, "/a.B/C".to_owned())]);
        let id = call.id;
        let waiting = operations.ended(id);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(call);
        waiting.await;
        assert!(operations.list(Some(asking.id)).is_empty());
        operations.ended(id).await;
    }

    #[test]
    fn a_call_within_an_operation_joins_it() {
        let operations = Operations::default();
        let outer = operations.begin(None, "/a.B/C", None, OnStopAll::Cancel, None);
        let inner = operations.begin(Some(outer.id), "/d.E/F", None, OnStopAll::Cancel, None);
        assert_eq!(operations.list(None).len(), 1);
        drop(inner);
        assert_eq!(operations.list(None).len(), 1, "the outer call still runs");
        let inner = operations.begin(Some(outer.id), "/d.E/F", None, OnStopAll::Cancel, None);
        operations.cancel(outer.id);
        assert!(inner.cancel.is_cancelled() && outer.cancel.is_cancelled());
    }

    #[test]
    fn two_who_stop_all_at_once_spare_each_other_and_whatever_stops() {
        let operations = Operations::default();
        let begin = |method, on_stop_all| operations.begin(None, method, None, on_stop_all, None);
        let work = begin("/m.M/SetPower", OnStopAll::Cancel);
        let stop = begin("/m.M/Stop", OnStopAll::Spare);
        let (one, other) = (
            begin("/r.R/StopAll", OnStopAll::Spare),
            begin("/r.R/StopAll", OnStopAll::Spare),
        );
        operations.cancel_all(Some(one.id));
        operations.cancel_all(Some(other.id));
        assert!(work.cancel.is_cancelled());
        for spared in [stop, one, other] {
            assert!(!spared.cancel.is_cancelled());
        }
    }

    #[test]
    fn a_stop_on_behalf_of_a_cancelled_call_gets_through() {
        let operations = Operations::default();
        let outer = operations.begin(None, "/a.B/C", None, OnStopAll::Cancel, None);
        operations.cancel(outer.id);
        let stop = operations.begin(Some(outer.id), "/m.M/Stop", None, OnStopAll::Spare, None);
        assert!(!stop.cancel.is_cancelled());
        let work = operations.begin(Some(outer.id), "/m.M/SetPower", None, OnStopAll::Cancel, None);
        assert!(work.cancel.is_cancelled());
    }

    #[test]
    fn stop_all_spares_the_one_who_asks() {
        let operations = Operations::default();
        let (call, asking) = (
            operations.begin(None, "/a.B/C", None, OnStopAll::Cancel, None),
            operations.begin(None, "/r.R/StopAll", None, OnStopAll::Spare, None),
        );
        operations.cancel_all(Some(asking.id));
        assert!(call.cancel.is_cancelled() && !asking.cancel.is_cancelled());
        operations.cancel(Uuid::new_v4());
    }
}
