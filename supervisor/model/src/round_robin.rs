//! Queue that is served round robin, so that whoever puts in hundreds of items delays another by one.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Queue that is served round robin: one of each caller in turn, those of one caller in order.
#[derive(Debug)]
pub struct RoundRobin<K, T> {
    /// Callers that wait, the next one first.
    callers: VecDeque<K>,
    waiting: HashMap<K, VecDeque<T>>,
    length: usize,
}

impl<K, T> Default for RoundRobin<K, T> {
    fn default() -> Self {
        Self {
            callers: VecDeque::new(),
            waiting: HashMap::new(),
            length: 0,
        }
    }
}

impl<K: Clone + Eq + Hash, T> RoundRobin<K, T> {
    /// Number of items.
    pub fn len(&self) -> usize {
        self.length
    }

    /// True when nobody waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Puts an item behind those of its caller.
    pub fn push(&mut self, caller: K, item: T) {
        let queue = self.waiting.entry(caller.clone()).or_default();
        if queue.is_empty() {
            self.callers.push_back(caller);
        }
        queue.push_back(item);
        self.length += 1;
    }

    /// Takes the next item out.
    pub fn pop(&mut self) -> Option<T> {
        let caller = self.callers.pop_front()?;
        let queue = self.waiting.get_mut(&caller)?;
        let item = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&caller);
        } else {
            self.callers.push_back(caller);
        }
        self.length -= 1;
        item
    }

    /// Takes those items of a caller out that are not to be kept.
    pub fn retain(&mut self, caller: &K, keep: impl FnMut(&T) -> bool) {
        let Some(queue) = self.waiting.get_mut(caller) else {
            return;
        };
        let before = queue.len();
        queue.retain(keep);
        self.length -= before - queue.len();
        if queue.is_empty() {
            self.waiting.remove(caller);
            self.callers.retain(|other| other != caller);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(pushed: &[(u64, &'static str)]) -> Vec<&'static str> {
        let mut queue = RoundRobin::default();
        for (caller, item) in pushed {
            queue.push(*caller, *item);
        }
        let served = std::iter::from_fn(|| queue.pop()).collect();
        assert!(queue.length == 0 && queue.waiting.is_empty() && queue.callers.is_empty());
        served
    }

    #[test]
    fn callers_are_served_in_turns_and_each_in_its_own_order() {
        for (pushed, wanted) in [
            (&[][..], &[][..]),
            (&[(1, "a"), (1, "b"), (1, "c")], &["a", "b", "c"]),
            (&[(1, "a"), (1, "b"), (1, "c"), (2, "x")], &["a", "x", "b", "c"]),
            (
                &[(1, "a"), (2, "x"), (1, "b"), (3, "n"), (2, "y"), (2, "z")],
                &["a", "x", "n", "b", "y", "z"],
            ),
        ] {
            assert_eq!(served(pushed), wanted);
        }
    }

    #[test]
    fn whoever_was_just_served_and_comes_again_goes_behind_those_who_wait() {
        let mut queue = RoundRobin::default();
        queue.push(1, "a");
        queue.push(2, "x");
        assert_eq!(queue.pop(), Some("a"));
        queue.push(1, "b");
        queue.push(2, "y");
        assert_eq!(
            [queue.pop(), queue.pop(), queue.pop()],
            [Some("x"), Some("b"), Some("y")]
        );
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let mut queue = RoundRobin::default();
        for (caller, item) in [(1, "a"), (1, "b"), (2, "x")] {
            queue.push(caller, item);
        }
        queue.retain(&2, |_| false);
        queue.retain(&1, |item| *item != "a");
        queue.retain(&3, |_| false);
        assert_eq!((queue.length, queue.callers.len()), (1, 1));
        assert_eq!((queue.pop(), queue.pop()), (Some("b"), None));
    }
}
