//! Bounds of one module: its limits, its sandbox and its cgroup, from one life to the next.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use mainstay_core::module::limits;
use mainstay_core::module::limits::{Capabilities, LimitPlan};
use mainstay_model::cgroup::Events;
use mainstay_model::limit::{Enforcement, Limit, bytes};
use mainstay_model::{Limits, ModuleName, ModuleSpec};
use mainstay_process::cgroup::{Group, Tree};
use mainstay_process::launch::Launch;
use mainstay_process::members::Members;
use mainstay_process::memory::MemoryWatch;
use mainstay_process::peers::Announcer;
use mainstay_process::sandbox;
use mainstay_process::sandbox::{Confinement, ConfinementSpec};
use nix::unistd::{Pid, geteuid};
use tokio::task::JoinSet;
use tracing::debug;

use super::problem::Problem;

/// The bounds of one module.
#[derive(Debug)]
pub struct Bounds {
    tree: Option<Arc<Tree>>,
    peers: Announcer,
    plan: LimitPlan,
    uid: u32,
    members: Members,
    watch: MemoryWatch,
    /// Takes a process into its cgroup that did not enter it by itself.
    adoptions: JoinSet<()>,
}

impl Bounds {
    /// The bounds of `spec`. `tree`: the machine's cgroups, where there are any.
    pub fn new(spec: &ModuleSpec, tree: Option<Arc<Tree>>, peers: Announcer) -> Self {
        // Who cannot be found is told of at the start; limits are shown before.
        let identity = sandbox::identity(&spec.policy.sandbox).ok().flatten();
        let offer = Capabilities {
            controllers: tree.as_deref().map(Tree::controllers).unwrap_or_default(),
            own_user: identity.as_ref().is_some_and(|identity| identity.is_apart()),
            can_watch: cfg!(target_os = "linux"),
        };
        Self {
            tree,
            peers,
            plan: limits::plan(&spec.policy.limits, offer),
            uid: identity.map_or_else(|| geteuid().as_raw(), |identity| identity.uid),
            members: Members::default(),
            watch: MemoryWatch::default(),
            adoptions: JoinSet::new(),
        }
    }

    /// The processes of the present life.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Configured limits, each with the mechanism that holds it.
    pub fn limits(&self) -> Arc<[Limit]> {
        self.plan.limits.as_slice().into()
    }

    /// Prepares the confinement of process number `life`, whose data directory exists. `sockets` is the directory of its
    /// sockets.
    ///
    /// # Errors
    /// Settings that cannot be had, with the cure.
    pub fn confine(
        &mut self,
        spec: &ModuleSpec,
        life: u64,
        launch: &mut Launch,
        sockets: &Path,
    ) -> Result<Confinement, String> {
        let policy = &spec.policy;
        let wish = ConfinementSpec {
            sandbox: &policy.sandbox,
            rlimits: self.plan.rlimits,
            sockets,
            env: &spec.env,
        };
        let confinement = Confinement::prepare(wish, launch).map_err(|refused| refused.to_string())?;
        let group = self
            .tree
            .as_deref()
            .map(|tree| tree.create(spec.name.as_str(), life, &policy.limits))
            .transpose()
            .map_err(|error| format!("cannot make its cgroup: {error}"))?
            .map(Arc::new);
        self.members = Members {
            group: group.clone(),
            leader: None,
        };
        // It may call before we hear that it runs.
        self.peers.announce(self.members.clone(), self.uid);
        launch.life.cgroup = group.as_ref().map(|group| group.path().display().to_string());
        // What the kernel is to hold must hold from the first instruction on.
        let held = self.plan.limits.iter().any(|limit| limit.held == Enforcement::Cgroup);
        Ok(confinement.into_group(group, held))
    }

    /// The process runs.
    pub fn begin(&mut self, pid: u32) {
        let leader = Pid::from_raw(pid.cast_signed());
        self.members.leader = Some(leader);
        self.peers.announce(self.members.clone(), self.uid);
        let held = self.plan.limits.iter().any(|limit| limit.held == Enforcement::Cgroup);
        if let Some(group) = self.members.group.clone().filter(|_| !held) {
            self.adoptions.spawn_blocking(move || {
                let family = Members {
                    group: None,
                    leader: Some(leader),
                };
                if let Err(error) = group.adopt(leader, || family.all()) {
                    debug!(pid, "cannot take a process into its cgroup: {error}");
                }
            });
        }
        if let Some(limit) = self.plan.watched_memory {
            self.watch = MemoryWatch::start(self.members.clone(), limit);
        }
    }

    /// Waits until no cgroup is about to take the process in by its number; a moment, and only right after its start.
    pub async fn settle(&mut self) {
        while self.adoptions.join_next().await.is_some() {}
    }

    /// The cgroup of the present process.
    pub fn group(&self) -> Option<Arc<Group>> {
        self.members.group.clone()
    }

    /// User that the process became by itself, which its sockets are closed to. Root may go anywhere.
    pub fn changed_user(&self) -> Option<u32> {
        let pid = self.members.leader?;
        let user = std::fs::metadata(format!("/proc/{pid}")).ok()?.uid();
        (user != self.uid && user != 0).then_some(user)
    }

    /// Forgets the process once it ended: the kernel may give its number to another one.
    pub fn end(&mut self) {
        self.watch = MemoryWatch::default();
        self.members = Members::default();
        self.peers.announce(Members::default(), self.uid);
    }

    /// Returns once the watch finds the module above its memory limit: what is wrong with it. It is to be killed. May be
    /// dropped and called again.
    pub async fn broken(&mut self, name: &ModuleName) -> Problem {
        let used = self.watch.over().await;
        let limit = self.plan.watched_memory.unwrap_or_default();
        let short = format!(
            "memory limit, watched: its processes used {} MiB, {} are allowed; it was killed",
            used >> 20,
            bytes(limit)
        );
        let wire = format!("module has unexpectedly exited; module: {name}, exit_code: -1 ({short})");
        Problem::new(wire, short)
    }
}

/// Adds to a problem what the kernel had counted against the module's limits.
pub fn with_events(problem: Problem, events: Events, limits: &Limits) -> Problem {
    match events_text(events, limits) {
        Some(text) => problem.with(&text),
        None => problem,
    }
}

fn events_text(events: Events, limits: &Limits) -> Option<String> {
    let mut events_text = Vec::new();
    if let (1.., Some(memory)) = (events.oom_kills, limits.memory) {
        events_text.push(format!(
            "memory limit of {} reached: killed by the kernel (OOM)",
            bytes(memory)
        ));
    } else if events.oom_kills > 0 {
        events_text.push("killed by the kernel (OOM)".to_owned());
    }
    if let (refused @ 1.., Some(pids)) = (events.refused_forks, limits.pids) {
        events_text.push(format!(
            "limit of {pids} processes and threads reached: {refused} more were refused"
        ));
    }
    (!events_text.is_empty()).then(|| events_text.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_counted_is_told_with_the_end() {
        let limits = Limits {
            memory: Some(64 << 20),
            pids: Some(20),
            ..Limits::default()
        };
        for (oom_kills, refused_forks, expected) in [
            (0, 0, "killed by SIGKILL"),
            (
                2,
                0,
                "killed by SIGKILL; memory limit of 64 MiB reached: killed by the kernel (OOM)",
            ),
            (
                0,
                7,
                "killed by SIGKILL; limit of 20 processes and threads reached: 7 more were refused",
            ),
        ] {
            let problem = Problem::new("it fell", "killed by SIGKILL");
            let events = Events {
                oom_kills,
                refused_forks,
            };
            assert_eq!(with_events(problem, events, &limits).short, expected);
        }
    }
}
