//! Signals that end a machine, or have it read its config again.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::signals::Inherited;

/// Signals that the machine handles.
#[derive(Debug)]
pub struct ShutdownSignals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// True if the machine is to end when its terminal goes away.
    terminal: bool,
}

impl ShutdownSignals {
    /// Takes the signals over. `inherited`: what the parent did with them.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(inherited: Inherited) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            terminal: !inherited.hang_up_ignored && has_terminal(),
        })
    }

    /// The next one that ends the machine. SIGHUP says that the config is to be read again, unless it comes because the
    /// terminal in which the machine runs was closed: then nobody is left who could end it with Ctrl-C, unless it was started
    /// to stay (`nohup`).
    pub async fn ending(&mut self, reload: &mpsc::UnboundedSender<()>) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => {
                    if self.terminal && !has_terminal() {
                        return "SIGHUP, its terminal is gone";
                    }
                    let _ending = reload.send(());
                }
            }
        }
    }
}

/// True if this process has a controlling terminal.
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}
