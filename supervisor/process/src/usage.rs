//! Resource use of a process, read from `/proc`; nothing where there is none.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::process_table;

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
    let ticks = process_table::look(pid.cast_signed())?.ticks;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}
