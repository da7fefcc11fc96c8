//! End of a process: what is left of its group is killed, it is reaped, and its last output is read while the next process
//! is already on its way.

use std::time::{Duration, Instant};

use mainstay_process::child::ending_signal;
use tokio::task::JoinSet;
use tracing::warn;

use super::Actor;
use crate::module::bounds::with_events;
use crate::module::problem::Problem;

/// Limit for reading the pipes of an ended process: grandchildren may hold them open for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);
/// Limit for reading them before anything else is done about the end: enough for what is in them already.
const OUTPUT_AT_ONCE: Duration = Duration::from_millis(2);

/// Output that may still be in the pipes of a process that is gone.
#[derive(Debug)]
pub(super) struct OutputDrain {
    output: JoinSet<()>,
    until: Instant,
}

impl Actor {
    /// Takes leave of a process that has ended: kills what is left of it and reaps it. True if it ended with
    /// exit code 0. What follows from its end is told in `publish`.
    pub(super) async fn reap(&mut self) -> bool {
        let Some(mut process) = self.process.take() else {
            return false;
        };
        self.bounds.settle().await;
        let status = process.end();
        self.bounds.end();
        self.entry.lives_in(None);
        let events = process.events();
        // Nobody has to hear of the end later because of them.
        self.orphans.spawn(async move { process.end_orphans().await });
        let clean = status.as_ref().is_ok_and(|status| status.success());
        self.watch = None;
        self.handshake.abort_all();
        let exit = status.as_ref().ok().copied();
        match Problem::end(&self.spec.name, self.lifecycle.state(), status) {
            Some(problem) => self.fail(with_events(problem, events, &self.spec.policy.limits)),
            None => self.record_stop(),
        }
        let life = self.lifecycle.life();
        if let Some(exit) = exit {
            self.entry.history().exited(life, exit, ending_signal(exit));
        }
        self.drain_output().await;
        if let Err(error) = self.sockets.remove(self.lifecycle.life()) {
            warn!(module = %self.spec.name, "cannot remove its socket: {error}");
        }
        clean
    }

    /// Waits no longer for a process that was killed and stays: it is named, and that life counts as ended.
    pub(super) async fn give_up(&mut self) {
        let Some(process) = self.process.take() else { return };
        self.bounds.settle().await;
        let problem = Problem::stuck(&self.spec.name, process.pid());
        warn!(module = %self.spec.name, pid = process.pid(), "{}", problem.short);
        self.add_or_fail(problem);
        process.give_up();
        self.bounds.end();
        self.entry.lives_in(None);
        self.watch = None;
        self.handshake.abort_all();
        self.drain_output().await;
        if let Err(error) = self.sockets.remove(self.lifecycle.life()) {
            warn!(module = %self.spec.name, "cannot remove its socket: {error}");
        }
    }

    /// Reads the last output of a process that is gone: at once what is there, the rest while other work goes on.
    pub(super) async fn drain_output(&mut self) {
        let mut output_drain = OutputDrain {
            output: std::mem::take(&mut self.output),
            until: Instant::now() + OUTPUT_GRACE,
        };
        // What it said last is in the pipes, and usually read by now; nobody may be kept waiting for it.
        let read = tokio::time::timeout(OUTPUT_AT_ONCE, output_drain.output_drained()).await;
        self.output_drain = read.is_err().then_some(output_drain);
        self.entry.output.release();
        let life = self.lifecycle.life();
        self.entry.history().set_output(life, self.tail.lines());
    }

    /// Returns when what the last process left outside its group is gone, too.
    pub(super) async fn orphans_gone(&mut self) {
        while self.orphans.join_next().await.is_some() {}
    }

    /// Completes the record of the last process's end: all of its output was read.
    pub(super) fn output_drained(&mut self) {
        self.output_drain = None;
        self.complete();
    }
}

impl OutputDrain {
    async fn output_drained(&mut self) {
        while self.output.join_next().await.is_some() {}
    }
}

/// Waits until all that a process that is gone said was read, or for as long as that may take.
pub(super) async fn output_drained(output_drain: &mut Option<OutputDrain>) {
    match output_drain {
        Some(output_drain) => {
            let until = output_drain.until.into();
            let _late = tokio::time::timeout_at(until, output_drain.output_drained()).await;
        }
        None => std::future::pending().await,
    }
}
