//! Operations: every call that runs now, so that it can be seen, waited for and cancelled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// One running call.
#[derive(Debug, Clone)]
pub struct Operation {
    /// `/package.Service/Method`.
    pub method: String,
    /// When it began.
    pub started: SystemTime,
    /// The session that answers for it, if any.
    pub session: Option<Uuid>,
    cancel: CancellationToken,
    on_stop_all: OnStopAll,
}

/// What StopAll does to an operation.
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
    running: Mutex<HashMap<Uuid, Operation>>,
    /// Told at every end; without waiters this costs one atomic read.
    ended: Notify,
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, HashMap<Uuid, Operation>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running operations of the machine.
#[derive(Debug, Clone, Default)]
pub struct Operations(Arc<Shared>);

/// A call's entry in the list. Dropping it is the end of the operation.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    /// Its id: the caller's own, or a new one.
    pub id: Uuid,
    /// Cancelled when somebody cancels the operation.
    pub cancel: CancellationToken,
    /// A call made on behalf of an operation that runs already is part of that one.
    joined: bool,
}

impl Operations {
    /// A call begins. `given` is the id that the caller sent; one that runs already is joined.
    pub fn begin(&self, given: Option<Uuid>, method: &str, session: Option<Uuid>, on_stop_all: OnStopAll) -> Running {
        let mut running = self.0.running();
        let id = given.unwrap_or_else(Uuid::new_v4);
        let (cancel, joined) = match running.get(&id) {
            // Who cleans up after a cancelled call stops things on behalf of that very call.
            Some(_outer) if on_stop_all == OnStopAll::Spare => (CancellationToken::new(), true),
            // Cancelling the outer call cancels this one; ending this one says nothing about the outer.
            Some(outer) => (outer.cancel.child_token(), true),
            None => {
                let cancel = CancellationToken::new();
                let operation = Operation {
                    method: method.to_owned(),
                    started: SystemTime::now(),
                    session,
                    cancel: cancel.clone(),
                    on_stop_all,
                };
                running.insert(id, operation);
                (cancel, false)
            }
        };
        drop(running);
        Running {
            shared: self.0.clone(),
            id,
            cancel,
            joined,
        }
    }

    /// All that run, oldest first, but for `asking`.
    pub fn list(&self, asking: Option<Uuid>) -> Vec<(Uuid, Operation)> {
        let running = self.0.running();
        let others = running.iter().filter(|(id, _)| Some(**id) != asking);
        let mut list: Vec<_> = others.map(|(id, operation)| (*id, operation.clone())).collect();
        list.sort_by_key(|(id, operation)| (operation.started, *id));
        list
    }

    /// Cancels an operation. One that does not run is over already.
    pub fn cancel(&self, id: Uuid) {
        if let Some(operation) = self.0.running().get(&id) {
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
            if !self.0.running().contains_key(&id) {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.joined {
            self.shared.running().remove(&self.id);
            self.shared.ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_operation_lasts_as_long_as_its_call() {
        let operations = Operations::default();
        let call = operations.begin(None, "/a.B/C", None, OnStopAll::Cancel);
        let asking = operations.begin(None, "/r.R/GetOperations", None, OnStopAll::Cancel);
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
        let outer = operations.begin(None, "/a.B/C", None, OnStopAll::Cancel);
        let inner = operations.begin(Some(outer.id), "/d.E/F", None, OnStopAll::Cancel);
        assert_eq!(operations.list(None).len(), 1);
        drop(inner);
        assert_eq!(operations.list(None).len(), 1, "the outer call still runs");
        let inner = operations.begin(Some(outer.id), "/d.E/F", None, OnStopAll::Cancel);
        operations.cancel(outer.id);
        assert!(inner.cancel.is_cancelled() && outer.cancel.is_cancelled());
    }

    #[test]
    fn two_who_stop_all_at_once_spare_each_other_and_whatever_stops() {
        let operations = Operations::default();
        let begin = |method, on_stop_all| operations.begin(None, method, None, on_stop_all);
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
        let outer = operations.begin(None, "/a.B/C", None, OnStopAll::Cancel);
        operations.cancel(outer.id);
        let stop = operations.begin(Some(outer.id), "/m.M/Stop", None, OnStopAll::Spare);
        assert!(!stop.cancel.is_cancelled());
        let work = operations.begin(Some(outer.id), "/m.M/SetPower", None, OnStopAll::Cancel);
        assert!(work.cancel.is_cancelled());
    }

    #[test]
    fn stop_all_spares_the_one_who_asks() {
        let operations = Operations::default();
        let (call, asking) = (
            operations.begin(None, "/a.B/C", None, OnStopAll::Cancel),
            operations.begin(None, "/r.R/StopAll", None, OnStopAll::Spare),
        );
        operations.cancel_all(Some(asking.id));
        assert!(call.cancel.is_cancelled() && !asking.cancel.is_cancelled());
        operations.cancel(Uuid::new_v4());
    }
}
