//! Resource use of a process, read from `/proc`; nothing where there is none.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Shortest span over which a CPU figure means something.
const MIN_SPAN: Duration = Duration::from_millis(200);

/// Resident memory of a process, in bytes.
pub fn memory_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page).ok()?)
}

/// Number of threads of a process.
pub fn threads(pid: u32) -> Option<u32> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    u32::try_from(entries.count()).ok()
}

/// Remembers what each process had used when it was last asked, so that the next answer is a rate.
#[derive(Debug, Default)]
pub struct Sampler {
    last: HashMap<u32, Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    used: Duration,
    rate: Option<f64>,
}

impl Sampler {
    /// Processor time that the process used lately, as a fraction of one processor. The first answer is none: a rate
    /// needs two looks.
    pub fn cpu(&mut self, pid: u32, now: Instant) -> Option<f64> {
        let used = processor_time(pid)?;
        let sample = self.last.entry(pid).or_insert(Sample {
            at: now,
            used,
            rate: None,
        });
        let span = now.duration_since(sample.at);
        if span >= MIN_SPAN {
            let rate = used.saturating_sub(sample.used).as_secs_f64() / span.as_secs_f64();
            *sample = Sample {
                at: now,
                used,
                rate: Some(rate),
            };
        }
        sample.rate
    }
}

fn processor_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = ticks(&stat)?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// User and system time, in clock ticks: fields 14 and 15 of proc(5). The name in field 2 may hold anything, so
/// counting begins behind its closing parenthesis.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_does_not_move_the_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 1 0 100 1000 200";
        assert_eq!(ticks(stat), Some(12));
        assert_eq!(ticks("garbage"), None);
    }
}
