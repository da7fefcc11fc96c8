//! Sandbox of a module: everything that its process gives up between fork and exec.
//!
//! `prepare` looks up, opens and allocates before the fork, and refuses what cannot be had, with the cure: nothing that
//! is configured is silently left out. `Confinement::enter` runs in the child and only makes system calls.

#[cfg(target_os = "linux")]
mod hidden;
#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
mod seccomp;
mod user;

use std::collections::BTreeMap;
use std::io;
use std::io::Read as _;
#[cfg(target_os = "linux")]
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use mainstay_model::{Rlimits, Sandbox};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

use crate::cgroup::Group;
use crate::launch::Launch;
pub use crate::sandbox::user::Credentials;

/// OOM score of modules: the kernel kills them before the core when the whole machine runs out of memory.
#[cfg(target_os = "linux")]
const OOM_SCORE: &std::ffi::CStr = c"200";

/// Reason why a module cannot be confined as configured, with the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfinementError(pub String);

/// Confinement of a module's process, applied before it runs.
#[derive(Debug, Default)]
pub struct Confinement {
    group: Option<Arc<Group>>,
    enters_group: bool,
    rlimits: Vec<(Resource, rlim_t)>,
    identity: Option<Credentials>,
    no_new_privs: bool,
    #[cfg(target_os = "linux")]
    hidden: Option<hidden::HiddenPaths>,
    #[cfg(target_os = "linux")]
    landlock: Option<OwnedFd>,
    #[cfg(target_os = "linux")]
    seccomp: Option<seccomp::BpfProgram>,
}

/// Inputs of a module's confinement.
#[derive(Debug, Clone, Copy)]
pub struct ConfinementSpec<'a> {
    /// Configured sandbox.
    pub sandbox: &'a Sandbox,
    /// Limits that the process sets for itself.
    pub rlimits: Rlimits,
    /// The private directory of its sockets, which exists.
    pub sockets: &'a Path,
    /// Variables of its config, which nothing here overrides.
    pub env: &'a BTreeMap<String, String>,
}

/// The user that the module is to run as, where that is not the core's own.
///
/// # Errors
/// There is no such user or group, or the core may not become it.
pub fn identity(sandbox: &Sandbox) -> Result<Option<Credentials>, ConfinementError> {
    user::find(sandbox.user.as_deref(), sandbox.group.as_deref())
}

impl Confinement {
    /// Makes everything ready for `launch`, whose data directory exists. Gives that directory, the one of the sockets and
    /// what its tarball was unpacked into to the module's user, and its environment that user's home.
    ///
    /// # Errors
    /// Something that is configured cannot be had here.
    pub fn prepare(wish: ConfinementSpec<'_>, launch: &mut Launch) -> Result<Self, ConfinementError> {
        let ConfinementSpec {
            sandbox,
            rlimits,
            sockets,
            env,
        } = wish;
        let identity = identity(sandbox)?;
        if let Some(identity) = &identity {
            identity.prepare_for_user(launch, sockets, env)?;
        }
        let mut confinement = Self {
            rlimits: rlimit_values(rlimits)?,
            identity,
            // The kernel takes these two from an ordinary user only with it, and they would hold nobody without.
            no_new_privs: sandbox.no_new_privs || sandbox.writable.is_some() || sandbox.seccomp.is_some(),
            ..Self::default()
        };
        confinement.restrict(sandbox, launch, sockets)?;
        Ok(confinement)
    }

    #[cfg(target_os = "linux")]
    fn restrict(&mut self, sandbox: &Sandbox, launch: &Launch, sockets: &Path) -> Result<(), ConfinementError> {
        if !sandbox.hidden.is_empty() {
            self.hidden = Some(hidden::HiddenPaths::prepare(&sandbox.hidden)?);
        }
        if let Some(writable) = &sandbox.writable {
            let own = [launch.data.as_path(), sockets];
            let all = own.into_iter().chain(writable.iter().map(|path| path.as_path()));
            self.landlock = Some(landlock::ruleset(all)?);
        }
        self.seccomp = sandbox.seccomp.map(seccomp::BpfProgram::new).transpose()?;
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn restrict(&mut self, sandbox: &Sandbox, _: &Launch, _: &Path) -> Result<(), ConfinementError> {
        let asked = [
            ("hidden", !sandbox.hidden.is_empty()),
            ("writable", sandbox.writable.is_some()),
            ("seccomp", sandbox.seccomp.is_some()),
            ("no_new_privs", sandbox.no_new_privs),
        ];
        match asked.into_iter().find(|(_, asked)| *asked) {
            Some((key, _)) => Err(ConfinementError(format!(
                "`sandbox.{key}` is only to be had on Linux; remove it"
            ))),
            None => {
                self.no_new_privs = false;
                Ok(())
            }
        }
    }

    /// Sets the cgroup of the process. `enters`: the child enters it first of all; else its parent moves it there.
    pub fn into_group(mut self, group: Option<Arc<Group>>, enters: bool) -> Self {
        self.group = group;
        self.enters_group = enters;
        self
    }

    /// The cgroup of the process.
    pub fn group(&self) -> Option<&Arc<Group>> {
        self.group.as_ref()
    }

    /// Does all that must be done while the process still has the core's rights. In the child: only system calls.
    pub fn enter(&self, stage: &StageWriter) -> io::Result<()> {
        if let Some(group) = self.group.as_ref().filter(|_| self.enters_group) {
            stage.at(Stage::Cgroup, || {
                Ok(nix::unistd::write(group.procs_fd(), b"0").map(drop)?)
            })?;
        }
        #[cfg(target_os = "linux")]
        raise_oom_score();
        for (resource, limit) in &self.rlimits {
            stage.at(Stage::Limits, || Ok(setrlimit(*resource, *limit, *limit)?))?;
        }
        #[cfg(target_os = "linux")]
        if let Some(hidden) = &self.hidden {
            stage.at(Stage::HiddenPaths, || hidden.enter())?;
        }
        if let Some(identity) = &self.identity {
            stage.at(Stage::User, || identity.enter())?;
        }
        Ok(())
    }

    /// Does the rest, after which the process can only become the module. In the child: only system calls.
    pub fn seal(&self, stage: &StageWriter) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            if self.no_new_privs {
                stage.at(Stage::Privileges, || Ok(nix::sys::prctl::set_no_new_privs()?))?;
            }
            if let Some(ruleset) = &self.landlock {
                stage.at(Stage::Landlock, || landlock::restrict(ruleset.as_raw_fd()))?;
            }
            if let Some(program) = &self.seccomp {
                stage.at(Stage::Seccomp, || program.enter())?;
            }
        }
        let _unused_elsewhere = stage;
        Ok(())
    }
}

/// Rlimits that the child sets, never above the hard limits of this process.
fn rlimit_values(rlimits: Rlimits) -> Result<Vec<(Resource, rlim_t)>, ConfinementError> {
    let mut wanted = vec![(Resource::RLIMIT_NOFILE, rlimits.open_files, "open_files")];
    wanted.push((Resource::RLIMIT_DATA, rlimits.data, "memory"));
    #[cfg(target_os = "linux")]
    wanted.push((Resource::RLIMIT_NPROC, rlimits.pids, "pids"));
    wanted
        .into_iter()
        .filter_map(|(resource, limit, key)| Some((resource, limit?, key)))
        .map(|(resource, limit, key)| {
            let (_, hard) = getrlimit(resource).map_err(|error| {
                ConfinementError(format!(
                    "cannot hold `limits.{key}`: the system does not tell it: {error}"
                ))
            })?;
            #[allow(
                clippy::useless_conversion,
                reason = "the system's type has 32 bits on some processors"
            )]
            let limit = rlim_t::try_from(limit).unwrap_or(rlim_t::MAX);
            Ok((resource, limit.min(hard)))
        })
        .collect()
}

/// A module goes before the core does. Nothing depends on it, so a failure is no reason not to start.
#[cfg(target_os = "linux")]
fn raise_oom_score() {
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    if let Ok(file) = open(
        c"/proc/self/oom_score_adj",
        OFlag::O_WRONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    ) {
        let _refused = nix::unistd::write(&file, OOM_SCORE.to_bytes());
    }
}

/// Step of the confinement that failed in the child; numbers go through a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Entering its cgroup.
    Cgroup = 1,
    /// Setting limits.
    Limits,
    /// Hiding paths.
    HiddenPaths,
    /// Becoming its user.
    User,
    /// Giving up the way to more rights.
    Privileges,
    /// Giving up the right to write.
    Landlock,
    /// Giving up system calls.
    Seccomp,
}

impl Stage {
    const ALL: [Self; 7] = [
        Self::Cgroup,
        Self::Limits,
        Self::HiddenPaths,
        Self::User,
        Self::Privileges,
        Self::Landlock,
        Self::Seccomp,
    ];

    /// Text of a failure at this step, with the cure.
    pub fn explain(self, error: &io::Error) -> String {
        match self {
            Self::Cgroup => format!("cannot put it into its cgroup: {error}"),
            Self::Limits => format!("cannot set its limits: {error}; raise `limits`"),
            Self::HiddenPaths => format!(
                "cannot hide paths from it (`sandbox.hidden`): the system allows no mount namespace: {error}; \
                 run the core as root, allow user namespaces to ordinary users, or remove `hidden`"
            ),
            Self::User => format!("cannot run it as its user (`sandbox.user`): {error}; run the core as root"),
            Self::Privileges => format!("cannot set `sandbox.no_new_privs`: {error}"),
            Self::Landlock => format!("cannot restrict where it writes (`sandbox.writable`): {error}"),
            Self::Seccomp => format!(
                "cannot forbid system calls (`sandbox.seccomp`): {error}; the kernel needs CONFIG_SECCOMP_FILTER"
            ),
        }
    }
}

/// Child's end of the pipe. The other end lies with the process that forks.
#[derive(Debug)]
pub struct StageWriter(io::PipeWriter);

impl StageWriter {
    /// Runs `step`; writes its number if it failed.
    fn at(&self, stage: Stage, step: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        step().inspect_err(|_| {
            let _unheard = nix::unistd::write(&self.0, &[stage as u8]);
        })
    }
}

/// Reads the stage at which a child failed, once the writer is gone everywhere.
#[derive(Debug)]
pub struct StageReader(io::PipeReader);

/// A pipe for the stage at which a child fails. Neither end goes on to the module.
pub fn stages() -> io::Result<(StageReader, StageWriter)> {
    io::pipe().map(|(reader, writer)| (StageReader(reader), StageWriter(writer)))
}

impl StageReader {
    /// The stage that failed; none if it was none of ours.
    pub fn failed(mut self) -> Option<Stage> {
        let mut byte = [0];
        self.0.read_exact(&mut byte).ok()?;
        Stage::ALL.into_iter().find(|stage| *stage as u8 == byte[0])
    }
}
