//! Last ends of a module's processes: the cause, the calls that were under way, and what followed. Reads no clock.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mainstay_model::ModulePhase;
use mainstay_model::module_state::ModuleState;
use mainstay_model::process_end::{ProcessEnd, Rebuilt};

/// Ends that are kept of one module.
const MAX_ENDS: usize = 20;
/// Calls that are kept of one end; the rest are counted.
const MAX_CALLS: usize = 10;
/// Lines of output that are kept of one end.
const MAX_LINES: usize = 10;
/// Resources that are kept of one end; the rest are counted.
const MAX_REBUILT: usize = 100;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Ends that are counted within a day; more than this is "many".
const MAX_COUNTED: usize = 1000;

/// The last ends of one module.
#[derive(Debug, Default)]
pub struct History {
    ends: VecDeque<ProcessEnd>,
    /// Times of unasked ends within the last day.
    times: VecDeque<SystemTime>,
    /// Reason for which the next end was asked.
    announced: Option<String>,
    /// Resources that were lost with the module and are not built again yet, and why.
    lost: BTreeMap<Arc<str>, Option<Arc<str>>>,
}

impl History {
    /// The ends that are kept, oldest first.
    pub fn ends(&self) -> impl ExactSizeIterator<Item = &ProcessEnd> {
        self.ends.iter()
    }

    /// Records the reason for which somebody is about to end the process on purpose.
    pub fn announce(&mut self, why: &str) {
        self.announced = Some(why.to_owned());
    }

    /// A process is of no use, or has ended although nobody asked for it. The first word about a life counts; its
    /// calls, its output and its exit status may be completed.
    pub fn failed(&mut self, mut end: ProcessEnd) {
        if self.of(end.life).is_some() {
            return;
        }
        self.announced = None;
        if let Some(at) = end.at {
            self.times.push_back(at);
            let recent = |time: &SystemTime| at.duration_since(*time).is_ok_and(|age| age < DAY);
            self.times.retain(recent);
            if self.times.len() > MAX_COUNTED {
                self.times.pop_front();
            }
        }
        end.within_day = u32::try_from(self.times.len()).unwrap_or(u32::MAX);
        self.push(end);
    }

    /// A process has ended as it was told to. One whose failure is known ended because of that.
    pub fn asked(&mut self, mut end: ProcessEnd) {
        if self.of(end.life).is_some() {
            return;
        }
        end.asked = true;
        end.cause = self.announced.take().unwrap_or_else(|| "stopped on purpose".to_owned());
        self.push(end);
    }

    fn push(&mut self, mut end: ProcessEnd) {
        end.calls = u32::try_from(end.in_flight.len()).unwrap_or(u32::MAX);
        end.in_flight.sort_by_key(|call| std::cmp::Reverse(call.age));
        end.in_flight.truncate(MAX_CALLS);
        end.last_output = newest(std::mem::take(&mut end.last_output));
        if self.ends.len() == MAX_ENDS {
            self.ends.pop_front();
        }
        self.ends.push_back(end);
    }

    /// Adds to the cause why the process of this life ended.
    pub fn add(&mut self, life: u64, more: &str) {
        if let Some(end) = self.of(life) {
            end.cause = format!("{}; {more}", end.cause);
        }
    }

    /// Adds the exit status of this life's process. `signal` is the name of the one that ended it.
    pub fn exited(&mut self, life: u64, status: ExitStatus, signal: Option<String>) {
        if let Some(end) = self.of(life) {
            (end.exit_code, end.signal) = (status.code(), signal);
        }
    }

    /// Adds the last lines of the process's output, in full.
    pub fn set_output(&mut self, life: u64, last_output: Vec<String>) {
        if let Some(end) = self.of(life) {
            end.last_output = newest(last_output);
        }
    }

    /// Adds the folder with the evidence about the process.
    pub fn evidence(&mut self, life: u64, folder: PathBuf) {
        if let Some(end) = self.of(life) {
            end.evidence = Some(folder);
        }
    }

    fn of(&mut self, life: u64) -> Option<&mut ProcessEnd> {
        self.ends.iter_mut().rev().find(|end| end.life == life)
    }

    /// The module's published state has changed: what followed upon the last end?
    pub fn observe(&mut self, before: &ModuleState, after: &ModuleState, now: SystemTime) {
        let Some(end) = self.ends.back_mut() else { return };
        let followed = &mut end.followed;
        match after.phase {
            ModulePhase::Starting if after.life > end.life && after.pid.is_some() && before.pid != after.pid => {
                followed.next_try = None;
                followed.started_after = end.at.map(|at| now.duration_since(at).unwrap_or_default());
            }
            ModulePhase::Ready if after.life > end.life && before.phase == ModulePhase::Starting => {
                followed.ready_after = after.start_time;
            }
            ModulePhase::Unhealthy => followed.next_try = after.next_try,
            _ => {}
        }
    }

    /// Records the resources that were lost with the module: its own, and those that hold them, each with what it lost.
    pub fn record_lost(&mut self, resources: impl IntoIterator<Item = (Arc<str>, Option<Arc<str>>)>) {
        for (name, because) in resources {
            self.lost.entry(name).or_insert(because);
        }
    }

    /// A resource was built, perhaps again.
    pub fn built(&mut self, name: &Arc<str>) {
        let Some(because) = self.lost.remove(name) else { return };
        let Some(end) = self.ends.back_mut() else { return };
        let rebuilt = &mut end.followed.rebuilt;
        if rebuilt.len() < MAX_REBUILT {
            let name = name.clone();
            rebuilt.push(Rebuilt { name, because });
        } else {
            end.followed.more_rebuilt += 1;
        }
    }
}

/// The newest lines that say something.
fn newest(lines: Vec<String>) -> Vec<String> {
    let mut lines: Vec<_> = lines.into_iter().filter(|line| !line.trim().is_empty()).collect();
    lines.drain(..lines.len().saturating_sub(MAX_LINES));
    lines
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use mainstay_model::process_end::InFlight;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn end(life: u64, seconds: u64) -> ProcessEnd {
        ProcessEnd {
            life,
            at: Some(at(seconds)),
            cause: format!("end {life}"),
            ..ProcessEnd::default()
        }
    }

    fn state(phase: ModulePhase, life: u64, pid: Option<u32>) -> ModuleState {
        ModuleState {
            phase,
            life,
            pid,
            start_time: Some(Duration::from_millis(610)),
            ..ModuleState::pending(SystemTime::UNIX_EPOCH)
        }
    }

    #[test]
    fn the_last_twenty_ends_are_kept() {
        let mut history = History::default();
        for life in 1..=25 {
            history.failed(end(life, life));
        }
        let lives: Vec<_> = history.ends().map(|end| end.life).collect();
        assert_eq!(lives, (6..=25).collect::<Vec<_>>());
        assert_eq!(history.ends().last().map(|end| end.within_day), Some(25));
    }

    #[test]
    fn the_first_word_about_a_life_counts_and_is_completed() {
        let mut history = History::default();
        history.failed(end(1, 5));
        history.failed(ProcessEnd {
            cause: "later".into(),
            ..end(1, 6)
        });
        history.asked(end(1, 7));
        history.exited(1, ExitStatus::from_raw(11), Some("SIGSEGV".to_owned()));
        history.set_output(1, vec!["a".into(), " ".into(), "b".into()]);
        history.evidence(1, "/e".into());
        // Of a life that nobody has heard of.
        history.exited(9, ExitStatus::from_raw(0), None);
        let ends: Vec<_> = history.ends().collect();
        assert_eq!(ends.len(), 1);
        assert_eq!((ends[0].cause.as_str(), ends[0].asked), ("end 1", false));
        assert_eq!((ends[0].signal.as_deref(), ends[0].exit_code), (Some("SIGSEGV"), None));
        assert_eq!(ends[0].last_output, ["a", "b"]);
        assert_eq!(ends[0].evidence.as_deref(), Some(std::path::Path::new("/e")));
    }

    #[test]
    fn an_end_that_was_asked_for_says_by_whom_and_is_not_counted() {
        let mut history = History::default();
        history.failed(end(1, 0));
        history.announce("restarted: asked for by RestartModule");
        history.asked(end(2, 10));
        history.asked(end(3, 20));
        // A process that crashes before it was told to end was not ended by whoever was about to.
        history.announce("too late");
        history.failed(end(4, 24 * 3600 + 5));
        history.asked(end(5, 24 * 3600 + 9));
        let causes: Vec<_> = history.ends().map(|end| (end.cause.as_str(), end.within_day)).collect();
        assert_eq!(
            causes,
            [
                ("end 1", 1),
                ("restarted: asked for by RestartModule", 0),
                ("stopped on purpose", 0),
                ("end 4", 1),
                ("stopped on purpose", 0)
            ]
        );
    }

    #[test]
    fn what_followed_stands_with_the_end_that_it_followed() {
        use ModulePhase::{Ready, Starting, Unhealthy};
        let mut history = History::default();
        let steps = [
            state(Ready, 1, Some(7)),
            state(Unhealthy, 1, None),
            state(Starting, 2, None),
            state(Starting, 2, Some(8)),
            state(Ready, 2, Some(8)),
        ];
        // The first start is not the consequence of anything.
        history.observe(&steps[2], &steps[3], at(1));
        history.failed(end(1, 10));
        for (seconds, pair) in (10..).zip(steps.windows(2)) {
            history.observe(&pair[0], &pair[1], at(seconds));
        }
        let followed = history
            .ends()
            .next()
            .map(|end| end.followed.clone())
            .unwrap_or_default();
        assert_eq!(followed.started_after, Some(Duration::from_secs(2)));
        assert_eq!(followed.ready_after, Some(Duration::from_millis(610)));
        let waiting = ModuleState {
            next_try: Some(at(30)),
            ..state(Unhealthy, 2, None)
        };
        history.failed(end(2, 20));
        history.observe(&steps[4], &waiting, at(20));
        let followed = history
            .ends()
            .last()
            .map(|end| end.followed.clone())
            .unwrap_or_default();
        assert_eq!((followed.next_try, followed.started_after), (Some(at(30)), None));
    }

    #[test]
    fn what_was_lost_is_told_as_it_is_built_again() {
        let (lidar, slam, other): (Arc<str>, Arc<str>, Arc<str>) = ("lidar".into(), "slam".into(), "other".into());
        let mut history = History::default();
        history.built(&lidar);
        history.record_lost([(lidar.clone(), None), (slam.clone(), Some(lidar.clone()))]);
        // Told again, with less knowledge.
        history.record_lost([(slam.clone(), None)]);
        history.failed(end(1, 1));
        history.failed(end(2, 2));
        for name in [&lidar, &other, &slam, &slam] {
            history.built(name);
        }
        let ends: Vec<_> = history.ends().collect();
        assert!(ends[0].followed.rebuilt.is_empty());
        let expected = [
            Rebuilt {
                name: lidar.clone(),
                because: None,
            },
            Rebuilt {
                name: slam,
                because: Some(lidar),
            },
        ];
        assert_eq!(ends[1].followed.rebuilt, expected);
    }

    #[test]
    fn many_calls_are_counted_and_the_oldest_named() {
        let call = |ms: u64| InFlight {
            method: "GetReadings".into(),
            resource: "a:b:c/d".into(),
            age: Duration::from_millis(ms),
            caller: "somebody".into(),
        };
        let mut history = History::default();
        history.failed(ProcessEnd {
            in_flight: (0..30).map(call).collect(),
            ..end(1, 1)
        });
        let end = history.ends().next().expect("an end");
        assert_eq!((end.calls, end.in_flight.len()), (30, MAX_CALLS));
        assert_eq!(end.in_flight[0].age, Duration::from_millis(29));
    }
}
