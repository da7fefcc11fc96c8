//! Shortages of the host, as `status` tells them: each with what follows from it, and a cure.

use std::fs;

use crate::descriptors;

/// Memory is short below this part of the whole.
const MEMORY_PART: u64 = 50;

/// What the host is short of now.
pub fn of_host() -> Vec<String> {
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory(&text));
    descriptors::shortage().into_iter().chain(memory).collect()
}

/// Text about too little memory in the words of `/proc/meminfo`.
fn memory(text: &str) -> Option<String> {
    let of = |key: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    let (total, available) = (of("MemTotal:")?, of("MemAvailable:")?);
    (available < total / MEMORY_PART).then(|| {
        format!(
            "{} of {} MB of memory are left: the system may end any process; `limits.memory` keeps a module from taking all",
            available / 1024,
            total / 1024
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_memory_is_told_and_what_cannot_be_read_is_not() {
        let of = |total: u64, available: u64| {
            memory(&format!(
                "MemTotal:  {total} kB\nMemFree: 1 kB\nMemAvailable: {available} kB\n"
            ))
        };
        assert_eq!(of(8_000_000, 1_000_000), None);
        let told = of(1_024_000, 10_240).expect("short");
        assert!(told.starts_with("10 of 1000 MB of memory are left"), "{told}");
        for text in ["", "MemTotal: 5 kB", "MemTotal: many kB\nMemAvailable: 1 kB"] {
            assert_eq!(memory(text), None, "{text}");
        }
    }
}
