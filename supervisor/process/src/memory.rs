//! Watches the memory of a module where no cgroup can hold it: the sum over all its processes, once a second.

use std::time::Duration;

use nix::unistd::Pid;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::members::Members;
use crate::usage::memory_bytes;

/// Pause between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// The watch over one life of a module; dropping it ends it.
#[derive(Debug, Default)]
pub struct MemoryWatch {
    looking: JoinSet<u64>,
}

impl MemoryWatch {
    /// Looks each second whether all processes of the module together use more than `limit` bytes.
    pub fn start(members: Members, limit: u64) -> Self {
        let mut looking = JoinSet::new();
        looking.spawn(async move {
            let mut ticks = tokio::time::interval(PERIOD);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let members = members.clone();
                // Adding up a large process takes milliseconds, which the thread that passes calls on has not.
                let used = tokio::task::spawn_blocking(move || members.all().into_iter().map(used).sum()).await;
                match used {
                    Ok(used) if used > limit => return used,
                    _ => {}
                }
            }
        });
        Self { looking }
    }

    /// Returns once they use more: how much, in bytes. May be dropped and called again.
    pub async fn over(&mut self) -> u64 {
        loop {
            match self.looking.join_next().await {
                Some(Ok(used)) => return used,
                Some(Err(_ended)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// Memory use of a process, in bytes: its share of what it uses together with others; 0 if it is gone.
fn used(pid: Pid) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    rollup.ok().and_then(|text| proportional(&text)).unwrap_or_else(|| {
        let pid = u32::try_from(pid.as_raw()).unwrap_or_default();
        memory_bytes(pid).unwrap_or_default()
    })
}

/// Reads the line `Pss:   1234 kB`, see proc_pid_smaps(5).
fn proportional(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_is_counted_by_its_share() {
        let text =
            "55d0-7ffe ---p 00000000 00:00 0    [rollup]\nRss:     2048 kB\nPss:     1500 kB\nPss_Dirty:  9 kB\n";
        assert_eq!(proportional(text), Some(1500 << 10));
        assert_eq!(proportional("Rss: 1 kB\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_module_above_its_limit_is_told_and_one_below_is_not() {
        let members = Members {
            group: None,
            leader: nix::unistd::getsid(None).ok(),
        };
        let mut low = MemoryWatch::start(members.clone(), 1);
        assert!(low.over().await > 1);
        let mut high = MemoryWatch::start(members, u64::MAX);
        let told = tokio::time::timeout(Duration::from_millis(50), high.over()).await;
        assert!(told.is_err());
    }
}
