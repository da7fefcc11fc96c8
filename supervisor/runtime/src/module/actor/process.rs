//! Process in a module's place, its own or its script's: its bounds, its output, its end, and what it leaves behind.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_core::module::lifecycle::Input;
use mainstay_model::ModuleSpec;
use mainstay_model::cgroup::Events;
use mainstay_process::child::{EndProgress, Process, Spawner};
use mainstay_process::launch::Launch;
use mainstay_process::orphans::Life;
use nix::sys::signal::Signal;
use tokio::task::JoinSet;
use tracing::{Level, warn};

use super::prepare::cannot_start;
use crate::module::address::Address;
use crate::module::bounds::Bounds;
use crate::module::entry::ModuleEntry;
use crate::module::output::{Stream, Tail, drain};
use crate::module::problem::Problem;
use crate::module::socket_place::SocketPlace;

/// Limit for reading the pipes of an ended process: grandchildren may hold them open for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);
/// Limit for reading them before anything else is done about the end: enough for what is in them already.
const OUTPUT_AT_ONCE: Duration = Duration::from_millis(2);

/// Present process of a module, and what is left of the one before.
#[derive(Debug)]
pub(super) struct ModuleProcess {
    entry: Arc<ModuleEntry>,
    place: SocketPlace,
    spawner: Spawner,
    /// Limits, sandbox and cgroup of the module.
    pub(super) bounds: Bounds,
    pub(super) child: Option<Process>,
    output: JoinSet<()>,
    /// Output of the process before, as long as it is read.
    pub(super) output_drain: Option<OutputDrain>,
    /// Ends what the last process left outside its group; the next one is not started before that.
    orphans: JoinSet<()>,
}

/// Output that may still be in the pipes of a process that is gone.
#[derive(Debug)]
pub(super) struct OutputDrain {
    output: JoinSet<()>,
    until: Instant,
}

impl ModuleProcess {
    /// No process yet.
    pub(super) fn new(entry: Arc<ModuleEntry>, place: SocketPlace, spawner: Spawner, bounds: Bounds) -> Self {
        Self {
            entry,
            place,
            spawner,
            bounds,
            child: None,
            output: JoinSet::new(),
            output_drain: None,
            orphans: JoinSet::new(),
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Process::pid)
    }

    /// Address for process number `life`, in a folder that is there, and the mark by which what it forks is found.
    pub(super) fn place(&self, spec: &ModuleSpec, life: u64) -> Result<(Address, Life), Problem> {
        self.place.renew().map_err(|short| cannot_start(&spec.name, short))?;
        let address = if spec.tcp {
            Address::free_port().map_err(|error| cannot_start(&spec.name, format!("no TCP port for it: {error}")))?
        } else {
            Address::Unix(self.place.sockets().module(life))
        };
        Ok((address, Life::new(&self.place.sockets().key(), &spec.name, life)))
    }

    /// Spawns a process in this module's place and begins to read what it prints.
    pub(super) async fn spawn(
        &mut self,
        spec: &ModuleSpec,
        life: u64,
        mut launch: Launch,
        tail: &Tail,
    ) -> Result<(), Problem> {
        let failed = |short| cannot_start(&spec.name, short);
        let executable = launch.executable.clone();
        let confinement = self
            .bounds
            .confine(spec, life, &mut launch, self.place.sockets().directory());
        let spawned = self.spawner.spawn(launch, confinement.map_err(failed)?).await;
        let mut process = spawned.map_err(|error| failed(error.explain(&executable)))?;
        let pid = process.pid();
        self.bounds.begin(pid);
        self.entry.lives_in(self.bounds.group());
        let (stdout, stderr) = process.take_output().map_err(|error| failed(error.to_string()))?;
        self.output = JoinSet::new();
        for (pipe, stream) in [(stdout, Stream::Stdout), (stderr, Stream::Stderr)] {
            self.output.spawn(drain(pipe, stream, tail.clone()));
        }
        self.entry.output.note(Level::INFO, &format!("process {pid} started"));
        self.child = Some(process);
        Ok(())
    }

    pub(super) fn signal(&self, signal: Signal, group: bool) {
        match &self.child {
            Some(process) if group => process.signal_group(signal),
            Some(process) => process.signal(signal),
            None => {}
        }
    }

    /// Kills what is left of a process that has ended, and reaps it. Gives how it ended, and what the kernel had counted
    /// against its limits.
    pub(super) async fn reap(&mut self) -> Option<(io::Result<ExitStatus>, Events)> {
        let mut process = self.child.take()?;
        self.bounds.settle().await;
        let status = process.end();
        self.bounds.end();
        self.entry.lives_in(None);
        let events = process.events();
        // Nobody has to hear of the end later because of them.
        self.orphans.spawn(async move { process.end_orphans().await });
        Some((status, events))
    }

    /// Waits no longer for a process that was killed and stays. Gives its number.
    pub(super) async fn abandon(&mut self) -> Option<u32> {
        let process = self.child.take()?;
        self.bounds.settle().await;
        let pid = process.pid();
        process.give_up();
        self.bounds.end();
        self.entry.lives_in(None);
        Some(pid)
    }

    /// Reads the last output of a process that is gone: at once what is there, the rest while other work goes on.
    pub(super) async fn drain_output(&mut self) {
        let mut output_drain = OutputDrain {
            output: std::mem::take(&mut self.output),
            until: Instant::now() + OUTPUT_GRACE,
        };
        // What it said last is in the pipes, and usually read by now; nobody may be kept waiting for it.
        let read = tokio::time::timeout(OUTPUT_AT_ONCE, output_drain.read()).await;
        self.output_drain = read.is_err().then_some(output_drain);
        self.entry.output.release();
    }

    /// Removes the socket of process number `life`.
    pub(super) fn remove_socket(&self, life: u64) {
        if let Err(error) = self.place.sockets().remove(life) {
            warn!(module = %self.entry.name, "cannot remove its socket: {error}");
        }
    }

    /// Returns when what the last process left outside its group is gone, too.
    pub(super) async fn orphans_gone(&mut self) {
        while self.orphans.join_next().await.is_some() {}
    }
}

impl OutputDrain {
    async fn read(&mut self) {
        while self.output.join_next().await.is_some() {}
    }
}

/// Waits until all that a process that is gone said was read, or for as long as that may take.
pub(super) async fn output_drained(output_drain: &mut Option<OutputDrain>) {
    match output_drain {
        Some(output_drain) => {
            let until = output_drain.until.into();
            let _late = tokio::time::timeout_at(until, output_drain.read()).await;
        }
        None => std::future::pending().await,
    }
}

/// Waits for the next step of the end of process number `life`.
pub(super) async fn passed(child: &mut Option<Process>, life: u64) -> Input {
    let Some(process) = child else {
        return std::future::pending().await;
    };
    match process.passed().await {
        Ok(EndProgress::Group) => Input::Empty { life },
        Ok(EndProgress::Process) => Input::Ended { life },
        Err(error) => {
            warn!(pid = process.pid(), "cannot watch a process: {error}");
            Input::Ended { life }
        }
    }
}
