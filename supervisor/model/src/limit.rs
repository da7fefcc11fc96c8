//! A limit of a module as it is shown, with what holds it on this system.

use crate::cgroup::Events;

/// Enforcement of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcement {
    /// Held by the kernel, for all processes of the module together.
    Cgroup,
    /// Held by the kernel, for each process or user.
    Rlimit,
    /// Held by the core, which looks each second.
    Watched,
    /// Not held.
    NotEnforced,
}

impl Enforcement {
    /// Enforcement in the words of the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Rlimit => "rlimit",
            Self::Watched => "watched",
            Self::NotEnforced => "not enforced",
        }
    }
}

/// Limit of a module, and its enforcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Key in the config.
    pub name: &'static str,
    /// Amount, as a person reads it.
    pub limit: String,
    /// Enforcement on this system.
    pub held: Enforcement,
    /// Remark: what the limit counts, or why it is not held and the cure.
    pub note: &'static str,
}

impl Limit {
    /// Refusals of the kernel because of this limit, for the status; empty if there are none.
    pub fn reached(&self, events: Events) -> String {
        match (self.name, self.held, events.refused_forks) {
            ("pids", Enforcement::Cgroup, refused @ 1..) => format!("reached: {refused} more were refused"),
            _ => String::new(),
        }
    }
}

/// A number of bytes in the largest unit that shows it without a loss: `64 MiB`, `1500 B`.
pub fn bytes(number: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units
        .into_iter()
        .find(|(_, shift)| number > 0 && number.is_multiple_of(1 << shift))
    {
        Some((unit, shift)) => format!("{} {unit}", number >> shift),
        None => format!("{number} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_without_a_loss() {
        for (number, expected) in [
            (64 << 20, "64 MiB"),
            (1 << 30, "1 GiB"),
            (1536, "1536 B"),
            (3 << 10, "3 KiB"),
            (0, "0 B"),
        ] {
            assert_eq!(bytes(number), expected);
        }
    }
}
