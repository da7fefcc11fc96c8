//! Process statistics from `/proc`. Linux only: elsewhere there is no PSS.

use std::fs;
use std::time::Duration;

use crate::Failure;

/// Describes this host in one line: numbers of different hosts must not be compared.
pub fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| rest.trim_start_matches(['\t', ' ', ':']));
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    format!("{count} x {model}, load {load} before the start (above 0.5 the numbers say little)")
}

/// Resident set size of a process in bytes.
pub fn rss(pid: u32) -> Result<u64, Failure> {
    field(pid, "status", "VmRSS:")
}

/// Peak [`rss`] of a process in bytes.
pub fn peak_rss(pid: u32) -> Result<u64, Failure> {
    field(pid, "status", "VmHWM:")
}

/// Proportional set size of a process in bytes: like [`rss`], but shared pages count divided by their users.
pub fn pss(pid: u32) -> Result<u64, Failure> {
    field(pid, "smaps_rollup", "Pss:")
}

/// CPU usage of a process so far.
#[derive(Clone, Copy, Default)]
pub struct Used {
    /// CPU time of all its living threads.
    pub cpu: Duration,
    /// Voluntary context switches of all its living threads.
    pub sleeps: u64,
}

/// Reads the CPU usage of a process.
pub fn used(pid: u32) -> Result<Used, Failure> {
    let mut used = Used::default();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?.path();
        // Nanoseconds on a processor, nanoseconds waiting for one, and slices of time.
        let times = fs::read_to_string(thread.join("schedstat"))?;
        let nanos = times.split(' ').next().unwrap_or_default().parse()?;
        used.cpu += Duration::from_nanos(nanos);
        let status = fs::read_to_string(thread.join("status"))?;
        used.sleeps += value(&status, "voluntary_ctxt_switches:")
            .ok_or("no count of context switches")?
            .parse::<u64>()?;
    }
    Ok(used)
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

fn field(pid: u32, file: &str, key: &str) -> Result<u64, Failure> {
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let value = value(&text, key).ok_or_else(|| format!("{path} has no {key}"))?;
    let kib: u64 = value.trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
