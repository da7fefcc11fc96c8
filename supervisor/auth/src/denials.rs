//! Calls that were refused lately, and why: for whoever asks, within bounds.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Most different refusals that are remembered.
const MAX: usize = 256;

/// Refusal, and how often it was repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Time of the last one.
    pub last: SystemTime,
    /// Entity that was refused.
    pub entity: String,
    /// Its roles, in words.
    pub roles: String,
    /// `/package.Service/Method`.
    pub path: String,
    /// Name of the resource; empty if the call was refused before it was read, or has none.
    pub resource: String,
    /// What would have allowed it.
    pub cure: String,
    /// Number of refusals.
    pub count: u64,
}

/// The last refusals.
#[derive(Debug, Default)]
pub struct Denials(Mutex<VecDeque<Denial>>);

impl Denials {
    /// Adds one, or counts it with the same one before. True if it is new.
    pub fn add(&self, denial: Denial) -> bool {
        let mut list = self.list();
        let same = |known: &Denial| {
            (&known.entity, &known.path, &known.resource, &known.roles)
                == (&denial.entity, &denial.path, &denial.resource, &denial.roles)
        };
        let known = list.iter().position(same).and_then(|at| list.remove(at));
        let is_new = known.is_none();
        let count = known.map_or(0, |known| known.count) + denial.count;
        if list.len() >= MAX {
            list.pop_front();
        }
        list.push_back(Denial { count, ..denial });
        is_new
    }

    /// All that are remembered, the latest last.
    pub fn get(&self) -> Vec<Denial> {
        self.list().iter().cloned().collect()
    }

    fn list(&self) -> MutexGuard<'_, VecDeque<Denial>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(entity: &str) -> Denial {
        Denial {
            last: SystemTime::UNIX_EPOCH,
            entity: entity.to_owned(),
            roles: "role viewer".to_owned(),
            path: "/s/m".to_owned(),
            resource: String::new(),
            cure: String::new(),
            count: 1,
        }
    }

    #[test]
    fn repetitions_are_counted_and_the_oldest_is_forgotten() {
        let denials = Denials::default();
        assert!(denials.add(denial("a")));
        assert!(denials.add(denial("b")));
        assert!(!denials.add(denial("a")));
        let shown: Vec<_> = denials.get().into_iter().map(|one| (one.entity, one.count)).collect();
        assert_eq!(shown, [("b".to_owned(), 1), ("a".to_owned(), 2)]);
        for number in 0..MAX {
            denials.add(denial(&number.to_string()));
        }
        let left = denials.get();
        assert_eq!((left.len(), left[0].entity.as_str()), (MAX, "0"));
    }
}
