//! Facts about cgroups: what they can limit here, and what one has counted.

/// Controllers of cgroups that limit something here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Controllers {
    /// Memory of a cgroup.
    pub memory: bool,
    /// Share of processor time.
    pub cpu: bool,
    /// The number of its processes and threads.
    pub pids: bool,
}

impl Controllers {
    /// Controllers in a list such as that in `cgroup.controllers`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let has = |name| text.split_ascii_whitespace().any(|word| word == name);
        Self {
            memory: has("memory"),
            cpu: has("cpu"),
            pids: has("pids"),
        }
    }

    /// Names that the kernel gives them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [("memory", self.memory), ("cpu", self.cpu), ("pids", self.pids)]
            .into_iter()
            .filter_map(|(name, there)| there.then_some(name))
    }
}

/// Counters of a cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events {
    /// Processes that the kernel killed because the memory limit was reached.
    pub oom_kills: u64,
    /// Forks that were refused because of the limit of processes.
    pub refused_forks: u64,
}
