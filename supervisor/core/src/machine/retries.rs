//! Failures of resources, and when each is tried again. Pure.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use mainstay_ids::ResourceName;
use mainstay_model::failure::Failure;

/// Pause before a failed resource is tried again, doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest such pause.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Resources that failed, and their next tries.
#[derive(Debug, Default)]
pub(super) struct Retries {
    failures: HashMap<ResourceName, Failures>,
    due: BTreeSet<(Instant, ResourceName)>,
}

/// Failures of one resource in a row.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    /// Last one, and when the next try is due; `None` once that may begin.
    last: Option<(Failure, Instant)>,
}

impl Retries {
    /// Failure because of which `name` is not tried now.
    pub(super) fn holds_back(&self, name: &ResourceName, now: Instant) -> Option<&Failure> {
        let (failure, retry) = self.failures.get(name)?.last.as_ref()?;
        (*retry > now).then_some(failure)
    }

    /// Time at which the next try is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Records one more failure.
    pub(super) fn failed(&mut self, name: &ResourceName, failure: Failure, now: Instant) {
        self.try_now(name);
        let failures = self.failures.entry(name.clone()).or_default();
        let pause = FIRST_RETRY.saturating_mul(2u32.saturating_pow(failures.count.min(16)));
        let retry = now + pause.min(LAST_RETRY);
        failures.count += 1;
        failures.last = Some((failure, retry));
        self.due.insert((retry, name.clone()));
    }

    /// The next try may begin at once; if it fails, the pause after it is longer all the same.
    pub(super) fn try_now(&mut self, name: &ResourceName) {
        let last = self.failures.get_mut(name).and_then(|failures| failures.last.take());
        if let Some((_, retry)) = last {
            self.due.remove(&(retry, name.clone()));
        }
    }

    /// Resources whose next try is due and may begin now.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<ResourceName> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        let due: Vec<_> = due.map(|(_, name)| name.clone()).collect();
        for name in &due {
            self.try_now(name);
        }
        due
    }

    /// Forgets all failures of a resource.
    pub(super) fn forget(&mut self, name: &ResourceName) {
        self.try_now(name);
        self.failures.remove(name);
    }
}
