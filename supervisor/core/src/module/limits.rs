//! Enforcement of each of a module's limits on this system: decided here, done by `cgroup`, by rlimits in the child, or
//! by the watch in `memory`. Pure.

use mainstay_model::cgroup::Controllers;
use mainstay_model::limit::{Enforcement, Limit, bytes};
use mainstay_model::{Limits, Rlimits};

/// Room that the kernel's limit per process (RLIMIT_DATA) leaves above the memory limit where that is watched. It
/// counts what a process *maps* for writing, not what it uses, and allocators map far more than they use; so it only
/// stops a process that runs away between two looks.
const ROOM_ABOVE_MEMORY: u64 = 256 << 20;

/// Means of the system for enforcing limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Controllers that cgroups have here.
    pub controllers: Controllers,
    /// Whether the module runs as a user of its own: neither root nor the core's. The kernel counts processes by user.
    pub own_user: bool,
    /// Whether a module's processes and their memory can be looked at (Linux).
    pub can_watch: bool,
}

/// Enforcement of all limits of a module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitPlan {
    /// Configured limits, in the order of the config's documentation.
    pub limits: Vec<Limit>,
    /// Limits that the child sets for itself.
    pub rlimits: Rlimits,
    /// Memory above which the watch kills, in bytes.
    pub watched_memory: Option<u64>,
}

/// Decides for each configured limit how it is held.
pub fn plan(limits: &Limits, offer: Capabilities) -> LimitPlan {
    let mut plan = LimitPlan::default();
    if let Some(memory) = limits.memory {
        let (held, note) = if offer.controllers.memory {
            (Enforcement::Cgroup, "all its processes together")
        } else if offer.can_watch {
            plan.watched_memory = Some(memory);
            plan.rlimits.data = Some(memory.saturating_mul(2).saturating_add(ROOM_ABOVE_MEMORY));
            (
                Enforcement::Watched,
                "all its processes together, each second: no memory controller (cgroup v2) is to be had here",
            )
        } else {
            (Enforcement::NotEnforced, "this system cannot tell what a module uses")
        };
        plan.add("memory", bytes(memory), held, note);
    }
    if let Some(cpu) = limits.cpu {
        let (held, note) = if offer.controllers.cpu {
            (Enforcement::Cgroup, "all its processes together")
        } else {
            (
                Enforcement::NotEnforced,
                "needs the cpu controller (cgroup v2; as a service: `Delegate=yes`)",
            )
        };
        let unit = if cpu == 1.0 { "processor" } else { "processors" };
        plan.add("cpu", format!("{cpu} {unit}"), held, note);
    }
    if let Some(pids) = limits.pids {
        let (held, note) = if offer.controllers.pids {
            (Enforcement::Cgroup, "processes and threads together")
        } else if offer.own_user {
            plan.rlimits.pids = Some(pids.into());
            (Enforcement::Rlimit, "all processes and threads of its user")
        } else {
            (
                Enforcement::NotEnforced,
                "needs the pids controller (cgroup v2; as a service: `Delegate=yes`), or a user of its own (`sandbox.user`)",
            )
        };
        plan.add("pids", pids.to_string(), held, note);
    }
    if let Some(files) = limits.open_files {
        plan.rlimits.open_files = Some(files);
        plan.add(
            "open_files",
            files.to_string(),
            Enforcement::Rlimit,
            "each of its processes",
        );
    }
    plan
}

impl LimitPlan {
    fn add(&mut self, name: &'static str, limit: String, held: Enforcement, note: &'static str) {
        self.limits.push(Limit {
            name,
            limit,
            held,
            note,
        });
    }
}

#[cfg(test)]
mod tests {
    use mainstay_model::cgroup::Events;

    use super::*;

    const ALL: Limits = Limits {
        memory: Some(64 << 20),
        cpu: Some(0.5),
        pids: Some(20),
        open_files: Some(100),
    };

    const GROUPS: Controllers = Controllers {
        memory: true,
        cpu: true,
        pids: true,
    };

    fn held(offer: Capabilities) -> (String, LimitPlan) {
        let plan = plan(&ALL, offer);
        let held: Vec<_> = plan.limits.iter().map(|limit| limit.held.as_str()).collect();
        (held.join(", "), plan)
    }

    #[test]
    fn the_best_holder_that_the_system_offers_is_taken() {
        let watch = Capabilities {
            can_watch: true,
            ..Capabilities::default()
        };
        let own = Capabilities {
            own_user: true,
            ..watch
        };
        let groups = Capabilities {
            controllers: GROUPS,
            ..own
        };
        let only_pids = Capabilities {
            controllers: Controllers {
                pids: true,
                ..Controllers::default()
            },
            ..watch
        };
        for (offer, expected) in [
            (groups, "cgroup, cgroup, cgroup, rlimit"),
            (only_pids, "watched, not enforced, cgroup, rlimit"),
            (own, "watched, not enforced, rlimit, rlimit"),
            (watch, "watched, not enforced, not enforced, rlimit"),
            (
                Capabilities::default(),
                "not enforced, not enforced, not enforced, rlimit",
            ),
        ] {
            assert_eq!(held(offer).0, expected, "{offer:?}");
        }
        assert_eq!(plan(&Limits::default(), groups), LimitPlan::default());
    }

    #[test]
    fn what_is_held_by_the_kernel_is_not_held_twice() {
        let (_, plan) = held(Capabilities {
            controllers: GROUPS,
            own_user: true,
            can_watch: true,
        });
        assert_eq!(
            plan.rlimits,
            Rlimits {
                open_files: Some(100),
                ..Rlimits::default()
            }
        );
        assert_eq!(plan.watched_memory, None);
    }

    #[test]
    fn a_watched_module_may_map_more_than_it_may_use() {
        let (_, plan) = held(Capabilities {
            can_watch: true,
            ..Capabilities::default()
        });
        assert_eq!(plan.watched_memory, ALL.memory);
        assert!(plan.rlimits.data > ALL.memory);
    }

    #[test]
    fn what_the_kernel_refused_is_shown_with_its_limit_alone() {
        let (_, plan) = held(Capabilities {
            controllers: GROUPS,
            ..Capabilities::default()
        });
        let reached = |refused_forks| -> Vec<String> {
            let events = Events {
                refused_forks,
                ..Events::default()
            };
            plan.limits.iter().map(|limit| limit.reached(events)).collect()
        };
        assert_eq!(reached(7), ["", "", "reached: 7 more were refused", ""]);
        assert_eq!(reached(0), [""; 4]);
    }
}
