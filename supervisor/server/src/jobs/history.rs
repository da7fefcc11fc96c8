//! Times at which the last runs of a job ended, by outcome. Pure.

use std::collections::VecDeque;
use std::time::SystemTime;

/// Runs of either kind that are remembered.
const REMEMBERED: usize = 10;

/// The last runs of one job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobHistory {
    succeeded: VecDeque<SystemTime>,
    failed: VecDeque<SystemTime>,
}

impl JobHistory {
    /// A run ended.
    pub fn note(&mut self, at: SystemTime, went_well: bool) {
        let runs = if went_well {
            &mut self.succeeded
        } else {
            &mut self.failed
        };
        if runs.len() == REMEMBERED {
            runs.pop_front();
        }
        runs.push_back(at);
    }

    /// Ends of the runs that went well, oldest first.
    pub fn succeeded(&self) -> Vec<SystemTime> {
        self.succeeded.iter().copied().collect()
    }

    /// Ends of the runs that failed, oldest first.
    pub fn failed(&self) -> Vec<SystemTime> {
        self.failed.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_last_ten_of_each_kind_are_remembered() {
        let at = |n| UNIX_EPOCH + Duration::from_secs(n);
        let mut history = JobHistory::default();
        history.note(at(1), false);
        for n in 2..20 {
            history.note(at(n), true);
        }
        assert_eq!(history.succeeded(), (10..20).map(at).collect::<Vec<_>>());
        assert_eq!(history.failed(), [at(1)]);
    }
}
