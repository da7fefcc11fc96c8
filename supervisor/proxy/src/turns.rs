//! Turns at a module: calls that wait for room on its connection go in turns by caller, so that whoever makes hundreds
//! of calls at once delays nobody else by more than the next one that ends.
//!
//! Where nobody waits a turn costs one atomic count.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_model::round_robin::RoundRobin;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Number of a caller: a client's connection, a module, a run of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallerId(u64);

impl CallerId {
    /// The core itself.
    pub const CORE: Self = Self(0);

    /// A number that nobody else has.
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Turns at one connection.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Calls that the connection takes at once.
    limit: AtomicUsize,
    /// Calls that have a turn.
    taken: AtomicUsize,
    /// Length of the queue, to be read without its lock.
    waiting: AtomicUsize,
    queue: Mutex<RoundRobin<CallerId, oneshot::Sender<()>>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            limit: AtomicUsize::new(usize::MAX),
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
        }
    }
}

impl Turns {
    /// Sets how many calls the connection takes at once.
    pub(crate) fn set_limit(&self, limit: usize) {
        if self.limit.load(Ordering::Relaxed) != limit {
            self.limit.store(limit, Ordering::SeqCst);
            self.grant(&mut self.queue());
        }
    }

    /// Takes a turn at once, if there is room and nobody waits.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Turn> {
        let taken = self.waiting.load(Ordering::SeqCst) == 0 && self.reserve();
        taken.then(|| Turn(self.clone()))
    }

    /// Waits for a turn; `None` once `closed`.
    pub(crate) async fn take(self: &Arc<Self>, caller: CallerId, closed: &CancellationToken) -> Option<Turn> {
        let (sender, receiver) = oneshot::channel();
        let mut place = Place {
            turns: self,
            caller,
            receiver: Some(receiver),
        };
        {
            let mut queue = self.queue();
            queue.push(caller, sender);
            self.waiting.store(queue.len(), Ordering::SeqCst);
            // A turn that ended before this call was seen to wait went to nobody.
            self.grant(&mut queue);
        }
        tokio::select! {
            () = place.reached() => Some(Turn(self.clone())),
            () = closed.cancelled() => None,
        }
    }

    fn queue(&self) -> MutexGuard<'_, RoundRobin<CallerId, oneshot::Sender<()>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, if there is room.
    fn reserve(&self) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        let more = |taken| (taken < limit).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
            .is_ok()
    }

    /// Gives the room that there is to those who wait.
    fn grant(&self, queue: &mut RoundRobin<CallerId, oneshot::Sender<()>>) {
        while !queue.is_empty() && self.reserve() {
            // Whoever has gone meanwhile is passed over.
            let granted = std::iter::from_fn(|| queue.pop()).any(|next| next.send(()).is_ok());
            if !granted {
                self.taken.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.waiting.store(queue.len(), Ordering::SeqCst);
    }

    fn release(&self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.grant(&mut self.queue());
        }
    }
}

/// Room for one call on a connection. Dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Turns>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Place in the queue. Dropping it leaves the queue, and gives back a turn that nobody took.
struct Place<'t> {
    turns: &'t Turns,
    caller: CallerId,
    /// Gone once the turn was taken.
    receiver: Option<oneshot::Receiver<()>>,
}

impl Place<'_> {
    /// Waits for the turn.
    async fn reached(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            // The sender goes only with the queue, or after it sent.
            let _sent = receiver.await;
            self.receiver = None;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(mut receiver) = self.receiver.take() else {
            return;
        };
        receiver.close();
        if receiver.try_recv().is_ok() {
            self.turns.release();
            return;
        }
        let mut queue = self.turns.queue();
        queue.retain(&self.caller, |waiting| !waiting.is_closed());
        self.turns.waiting.store(queue.len(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_turn_that_ends_goes_to_the_caller_that_is_next() {
        let (turns, closed) = (Arc::new(Turns::default()), CancellationToken::new());
        turns.set_limit(2);
        let (many, one) = (CallerId(1), CallerId(2));
        let first = turns.try_take().expect("there is room");
        let second = turns.try_take().expect("there is room");
        assert!(turns.try_take().is_none());
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(turns.take(many, &closed))).collect();
        for waiting in &mut waiting {
            assert!(waiting.now_or_never().is_none());
        }
        let mut other = Box::pin(turns.take(one, &closed));
        assert!((&mut other).now_or_never().is_none());
        drop(first);
        assert!(turns.try_take().is_none(), "nobody overtakes");
        let third = (&mut waiting[0]).now_or_never().flatten().expect("first come");
        assert!((&mut other).now_or_never().is_none());
        drop(second);
        let fourth = (&mut other).now_or_never().flatten().expect("its turn");
        // One leaves the queue, another with the turn that it did not take.
        drop(waiting.remove(1));
        drop(third);
        drop(waiting.remove(1));
        let fifth = (&mut waiting[1]).now_or_never().flatten().expect("the last one");
        drop((fourth, fifth, other, waiting));
        assert_eq!(turns.taken.load(Ordering::SeqCst), 0);
        assert_eq!(turns.waiting.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn more_room_lets_more_in_and_the_end_of_the_connection_ends_the_wait() {
        let (turns, closed) = (Arc::new(Turns::default()), CancellationToken::new());
        turns.set_limit(0);
        let mut first = pin!(turns.take(CallerId(1), &closed));
        let mut second = pin!(turns.take(CallerId(2), &closed));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        turns.set_limit(1);
        let turn = first.as_mut().now_or_never().flatten();
        assert!(turn.is_some() && second.as_mut().now_or_never().is_none());
        closed.cancel();
        assert!(second.now_or_never().is_some_and(|turn| turn.is_none()));
    }
}
