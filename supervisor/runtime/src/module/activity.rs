//! Signs that a module is alive, or has a reason not to answer: the calls that it makes, and the core's own calls to it that
//! may keep it busy. Written by the tasks that see them, read by `health`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mainstay_proto::ResourceName;
use tokio::sync::Notify;

/// Activity of one module; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Calls that came through its parent socket so far.
    made: AtomicU64,
    calls: Mutex<CoreCalls>,
    /// Notified when a call of the core begins or ends.
    changed: Notify,
}

#[derive(Debug, Default)]
struct CoreCalls {
    count: u64,
    running: BTreeMap<u64, CoreCall>,
}

/// A call of the core that a module may be busy with.
#[derive(Debug, Clone)]
pub struct CoreCall {
    /// `ValidateConfig`, `AddResource` or `RemoveResource`.
    pub what: &'static str,
    /// About which resource.
    pub resource: ResourceName,
    /// Start of the call.
    pub started: Instant,
    /// Deadline of the call.
    pub until: Instant,
}

/// Guard of such a call while it lasts. Dropping it is the end of the call.
#[derive(Debug)]
pub struct Busy {
    activity: Activity,
    number: u64,
}

impl Activity {
    /// The module made a call.
    pub fn record_call(&self) {
        self.0.made.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of calls the module has made.
    pub fn calls_made(&self) -> u64 {
        self.0.made.load(Ordering::Relaxed)
    }

    /// The core begins a call, which it gives up after `limit`.
    pub fn begin(&self, what: &'static str, resource: ResourceName, limit: Duration) -> Busy {
        let started = Instant::now();
        let call = CoreCall {
            what,
            resource,
            started,
            until: started + limit,
        };
        let mut calls = self.calls();
        calls.count += 1;
        let number = calls.count;
        calls.running.insert(number, call);
        drop(calls);
        self.0.changed.notify_waiters();
        Busy {
            activity: self.clone(),
            number,
        }
    }

    /// The calls of the core that run now, by number, oldest first.
    pub fn running(&self) -> BTreeMap<u64, CoreCall> {
        self.calls().running.clone()
    }

    /// Deadline of each call of the core in flight, by its number.
    pub fn deadlines(&self) -> BTreeMap<u64, Instant> {
        let calls = self.calls();
        let deadlines = calls.running.iter().map(|(number, calls)| (*number, calls.until));
        deadlines.collect()
    }

    /// Waits until one begins or ends after this was first polled.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn calls(&self) -> MutexGuard<'_, CoreCalls> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.activity.calls().running.remove(&self.number);
        self.activity.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_is_known_from_its_begin_to_its_end_and_both_are_told() {
        let activity = Activity::default();
        let name: ResourceName = "rdk:component:motor/left".parse().unwrap();
        let mut told = std::pin::pin!(activity.changed());
        assert!(futures_util::poll!(told.as_mut()).is_pending());
        let busy = activity.begin("AddResource", name, Duration::from_secs(120));
        told.await;
        let running = activity.running();
        let calls = running.values().next().unwrap();
        assert_eq!(
            (calls.what, calls.until - calls.started),
            ("AddResource", Duration::from_secs(120))
        );
        assert_eq!(activity.deadlines().len(), 1);
        let mut told = std::pin::pin!(activity.changed());
        assert!(futures_util::poll!(told.as_mut()).is_pending());
        drop(busy);
        told.await;
        assert!(activity.running().is_empty());
    }
}
