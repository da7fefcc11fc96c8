//! Reads what the kernel tells of a module's processes: of its own, and of whatever that started in its session.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::process_table;

/// Most processes of one module that are described.
const MOST_PROCESSES: usize = 32;
/// Most threads of one process that are described.
const MOST_THREADS: usize = 256;

/// The process that traces a module's process `pid`, or one of its session: a debugger.
pub fn tracer(pid: u32) -> Option<u32> {
    session(pid)
        .into_iter()
        .find_map(|pid| tracer_in(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?))
}

/// Reads `TracerPid` in the text of `/proc/PID/status`.
fn tracer_in(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    line.trim().parse().ok().filter(|pid| *pid != 0)
}

/// `pid`, and all others of its session: a wrapper may have started the module proper.
pub(super) fn session(pid: u32) -> Vec<u32> {
    let leader = pid.cast_signed();
    let mut found = vec![pid];
    // A module leads a session of its own; where it does not, its session is somebody else's.
    if process_table::look(leader).is_some_and(|process| process.session == leader) {
        let all = process_table::all().into_iter();
        let others = all.filter(|other| other.session == leader && other.pid != leader);
        found.extend(others.map(|other| other.pid.cast_unsigned()));
        found[1..].sort_unstable();
    }
    found.truncate(MOST_PROCESSES);
    found
}

/// Wait channel and stack of each thread. Written as it is read, so that what blocks costs only what comes after it.
pub fn threads(pid: u32, out: &mut impl Write) -> io::Result<()> {
    if !Path::new("/proc/self/task").exists() {
        return writeln!(out, "this system tells nothing about the threads of a process");
    }
    for pid in session(pid) {
        let tasks = match fs::read_dir(format!("/proc/{pid}/task")) {
            Ok(tasks) => tasks,
            Err(error) => {
                writeln!(out, "process {pid}: {error}")?;
                continue;
            }
        };
        let mut tasks: Vec<u32> = tasks
            .flatten()
            .filter_map(|task| task.file_name().to_str()?.parse().ok())
            .collect();
        tasks.sort_unstable();
        writeln!(out, "process {pid}: {} threads", tasks.len())?;
        for task in tasks.into_iter().take(MOST_THREADS) {
            out.write_all(thread(&format!("/proc/{pid}/task/{task}"), task).as_bytes())?;
        }
    }
    Ok(())
}

fn thread(path: &str, task: u32) -> String {
    let read = |name: &str| {
        let text = fs::read(format!("{path}/{name}"));
        text.map(|text| String::from_utf8_lossy(&text).trim_end().to_owned())
    };
    let or_why = |text: io::Result<String>| text.unwrap_or_else(|error| format!("not readable ({error})"));
    let state = read("status").map(|status| field(&status, "State:").to_owned());
    let mut text = format!("  thread {task} {}\n", or_why(read("comm")));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "    state         {}", or_why(state));
    let _ = writeln!(
        text,
        "    wait channel  {}",
        or_why(read("wchan").map(|wchan| wait_channel(&wchan)))
    );
    let _ = writeln!(
        text,
        "    system call   {}",
        or_why(read("syscall").map(|line| system_call(&line)))
    );
    match read("stack") {
        Ok(stack) if stack.is_empty() => text.push_str("    kernel stack  none: it runs its own code\n"),
        Ok(stack) => {
            text.push_str("    kernel stack\n");
            for line in stack.lines() {
                let _ = writeln!(text, "      {line}");
            }
        }
        Err(error) => {
            let _ = writeln!(text, "    kernel stack  not readable ({error})");
        }
    }
    text
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or("unknown").trim()
}

fn wait_channel(wchan: &str) -> String {
    match wchan {
        "0" | "" => "none".to_owned(),
        wchan => wchan.to_owned(),
    }
}

/// `7 0x7f… …` with the call's name, where it is one that threads commonly wait in.
fn system_call(line: &str) -> String {
    let Some(number) = line
        .split(' ')
        .next()
        .and_then(|number| number.parse::<SyscallNumber>().ok())
    else {
        return line.to_owned();
    };
    match WAITS.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => format!("{name} ({line})"),
        None if number == -1 => format!("none ({line})"),
        None => line.to_owned(),
    }
}

/// The number of a system call.
type SyscallNumber = nix::libc::c_long;

/// System calls that threads commonly wait in, those that all architectures have.
#[cfg(target_os = "linux")]
const WAITS: &[(SyscallNumber, &str)] = {
    use nix::libc;
    &[
        (libc::SYS_accept, "accept"),
        (libc::SYS_accept4, "accept4"),
        (libc::SYS_clock_nanosleep, "clock_nanosleep"),
        (libc::SYS_connect, "connect"),
        (libc::SYS_epoll_pwait, "epoll_pwait"),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_epoll_wait, "epoll_wait"),
        (libc::SYS_fdatasync, "fdatasync"),
        (libc::SYS_flock, "flock"),
        (libc::SYS_fsync, "fsync"),
        (libc::SYS_futex, "futex"),
        (libc::SYS_ioctl, "ioctl"),
        (libc::SYS_nanosleep, "nanosleep"),
        (libc::SYS_openat, "openat"),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_poll, "poll"),
        (libc::SYS_ppoll, "ppoll"),
        (libc::SYS_pselect6, "pselect6"),
        (libc::SYS_read, "read"),
        (libc::SYS_recvfrom, "recvfrom"),
        (libc::SYS_recvmsg, "recvmsg"),
        (libc::SYS_rt_sigtimedwait, "rt_sigtimedwait"),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_select, "select"),
        (libc::SYS_sendmsg, "sendmsg"),
        (libc::SYS_sendto, "sendto"),
        (libc::SYS_wait4, "wait4"),
        (libc::SYS_waitid, "waitid"),
        (libc::SYS_write, "write"),
    ]
};
#[cfg(not(target_os = "linux"))]
const WAITS: &[(SyscallNumber, &str)] = &[];

/// The open files of each process.
pub fn open_files(pid: u32, out: &mut impl Write) -> io::Result<()> {
    for pid in session(pid) {
        writeln!(out, "process {pid}")?;
        let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(entries) => entries,
            Err(error) => {
                writeln!(out, "  not readable ({error})")?;
                continue;
            }
        };
        let mut numbers: Vec<u32> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        numbers.sort_unstable();
        for number in numbers {
            match fs::read_link(format!("/proc/{pid}/fd/{number}")) {
                Ok(target) => writeln!(out, "  {number} -> {}", target.display())?,
                Err(error) => writeln!(out, "  {number}: {error}")?,
            }
        }
    }
    Ok(())
}

/// `/proc/PID/status` of each process.
pub fn summary(pid: u32, out: &mut impl Write) -> io::Result<()> {
    for pid in session(pid) {
        match fs::read(format!("/proc/{pid}/status")) {
            Ok(status) => out.write_all(&status)?,
            Err(error) => writeln!(out, "process {pid}: {error}")?,
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tracer_is_a_line_of_the_status() {
        for (status, expected) in [
            ("Name:\tsh\nState:\tS (sleeping)\nTracerPid:\t0\nUid:\t0\n", None),
            (
                "Name:\tsh\nState:\tt (tracing stop)\nTracerPid:\t4711\nUid:\t0\n",
                Some(4711),
            ),
            ("Name:\tTracerPid:\t7\n", None),
            ("TracerPid:\tx\n", None),
            ("", None),
        ] {
            assert_eq!(tracer_in(status), expected, "{status}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_system_call_has_its_name_where_it_is_a_common_one() {
        let read = nix::libc::SYS_read;
        assert_eq!(
            system_call(&format!("{read} 0x3 0x7f")),
            format!("read ({read} 0x3 0x7f)")
        );
        assert_eq!(system_call("running"), "running");
        assert_eq!(system_call("-1 0x7f 0x7f"), "none (-1 0x7f 0x7f)");
        assert_eq!(system_call("999999 0x7f"), "999999 0x7f");
        assert_eq!(
            (wait_channel("0"), wait_channel("do_wait")),
            ("none".into(), "do_wait".into())
        );
    }
}
