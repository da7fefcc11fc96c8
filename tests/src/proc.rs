//! Processes and sockets of this host that belong to a test.
//!
//! Children inherit the environment, so a mark in it finds every descendant, however it was forked and whatever session
//! or process group it moved to.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Command line, arguments separated by spaces.
    pub command: String,
}

/// Lists all living processes with `mark` (`NAME=value`) in their environment, except the caller.
///
/// Empty without `/proc`, so that such checks pass there.
pub fn marked(mark: &str) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = i32::try_from(std::process::id()).expect("process ids are small");
    let mut found: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| pid != own && is_marked(pid, mark))
        .map(|pid| Process {
            pid,
            command: command_line(pid),
        })
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}

fn is_marked(pid: i32, mark: &str) -> bool {
    // A process that ended meanwhile, a zombie or somebody else's reads as nothing.
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment
        .split(|&byte| byte == 0)
        .any(|variable| variable == mark.as_bytes())
}

fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

/// True while a process with this id exists.
pub fn alive(pid: i32) -> bool {
    // A zombie has been dealt with: only its parent can do the rest.
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    match state.rsplit_once(')') {
        Some((_, rest)) => !rest.trim_start().starts_with('Z'),
        None => !Path::new("/proc/self").exists() && kill(Pid::from_raw(pid), None).is_ok(),
    }
}

/// Sends a signal; the process being gone already is fine.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Lists all sockets below `folder`.
pub fn sockets_below(folder: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(sockets_below(&entry.path())),
            Ok(kind) if kind.is_socket() => found.push(entry.path()),
            _ => {}
        }
    }
    found.sort();
    found
}

/// Waits until `condition` holds, looking every 10 ms; false if it did not within `limit`.
pub async fn eventually(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
