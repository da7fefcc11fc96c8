//! Holding of what a call moves: a session of the machine, which stops it when this process falls silent, whatever ended it.

use std::fs;
use std::time::Duration;

use mainstay_proto::methods;
use mainstay_proto::viam::robot::v1::{SendSessionHeartbeatRequest, StartSessionRequest};
use prost_reflect::{MethodDescriptor, Value};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::Code;
use tonic::metadata::{Ascii, MetadataValue};

use crate::connection::MachineConnection;
use crate::failure::CliError;

/// Metadata key of a session.
pub const SESSION_ID: &str = "viam-sid";
/// Option of methods that move something.
const MONITORED: &str = "viam.common.v1.safety_heartbeat_monitored";
/// Signs of life in one window.
const BEATS: u32 = 5;
/// Window of a machine that names none.
const USUAL_WINDOW: Duration = Duration::from_secs(2);

/// How long something is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// For so long from the call on; then it is stopped.
    For(Duration),
    /// Until Ctrl-C or until it is at rest; then it is stopped.
    UntilInterrupted,
    /// The command ends with its call, and nobody holds what moves on.
    No,
}

impl Hold {
    /// What is asked for, else what fits. A person at a terminal can end it, and its death is theirs; a script has its next line
    /// to run.
    pub fn new(asked: Option<Duration>, leave: bool, repeats: bool) -> Self {
        match (asked, leave) {
            (Some(length), _) => Self::For(length),
            (None, true) => Self::No,
            (None, false) if repeats || is_job_of_a_terminal() => Self::UntilInterrupted,
            (None, false) => Self::No,
        }
    }
}

/// True if the method sets something moving that must not outlive its caller's attention.
pub fn moves(method: &MethodDescriptor) -> bool {
    if let Some(known) = methods::find(method.parent_service().full_name(), method.name()) {
        return known.actuates;
    }
    let options = method.options();
    options
        .extensions()
        .any(|(extension, value)| extension.full_name() == MONITORED && matches!(value, Value::Bool(true)))
}

/// True if this process is a job of its own in the foreground of a terminal: typed by somebody, and no line of a script.
fn is_job_of_a_terminal() -> bool {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    is_foreground_job(&stat, std::process::id())
}

/// [`is_job_of_a_terminal`] from the text of `/proc/PID/stat`, in which the name may hold anything.
fn is_foreground_job(stat: &str, pid: u32) -> bool {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // State, parent, group, session, terminal, group in the foreground of the terminal.
    let mut fields = after_name.split_ascii_whitespace().skip(2);
    let is_own = |field: Option<&str>| field.and_then(|field| field.parse().ok()) == Some(pid);
    let own_group = is_own(fields.next());
    own_group && is_own(fields.nth(2))
}

/// A session that lives as long as it is kept.
pub struct HeldSession {
    connection: MachineConnection,
    id: String,
    window: Duration,
}

impl HeldSession {
    /// Begins one. `None`: the machine has none to offer.
    ///
    /// # Errors
    /// The machine refuses it.
    pub async fn begin(connection: &MachineConnection) -> Result<Option<Self>, CliError> {
        let begun = connection.robot().start_session(StartSessionRequest::default()).await;
        let begun = match begun {
            Ok(begun) => begun.into_inner(),
            Err(status) if status.code() == Code::Unimplemented => return Ok(None),
            Err(status) => return Err(status.into()),
        };
        let window = begun
            .heartbeat_window
            .and_then(|window| Duration::try_from(window).ok());
        Ok(Some(Self {
            connection: connection.clone(),
            id: begun.id,
            window: window.filter(|window| !window.is_zero()).unwrap_or(USUAL_WINDOW),
        }))
    }

    /// Its id, for the metadata of calls.
    pub fn id(&self) -> Option<MetadataValue<Ascii>> {
        self.id.parse().ok()
    }

    /// Gives signs of life. Returns when they are of no use any more, with the reason.
    pub async fn keep(&self) -> CliError {
        let mut robot = self.connection.robot();
        let mut ticks = interval(self.window / BEATS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let request = SendSessionHeartbeatRequest { id: self.id.clone() };
            match timeout(self.window, robot.send_session_heartbeat(request)).await {
                Ok(Ok(_)) => {}
                Ok(Err(status)) => return lost(status.message()),
                Err(_) => return lost("it does not answer"),
            }
        }
    }
}

fn lost(why: &str) -> CliError {
    CliError::wrong(format!(
        "the machine does not hear from this command any more ({why}), and stops what it moved"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_in_the_foreground_is_told_from_a_line_of_a_script() {
        for (stat, expected) in [
            ("7 (main) S 1 7 7 34816 7 4194304", true),
            ("7 (a) b) S 1 7 5 34816 7 4194304", true),
            // Its group is that of the script, or of the first program of a pipe.
            ("7 (main) S 1 5 5 34816 5 4194304", false),
            // In the background.
            ("7 (main) S 1 7 5 34816 5 4194304", false),
            // No terminal.
            ("7 (main) S 1 7 7 0 -1 4194304", false),
            ("", false),
        ] {
            assert_eq!(is_foreground_job(stat, 7), expected, "{stat}");
        }
    }

    #[test]
    fn what_is_asked_for_goes_before_what_fits() {
        let length = Duration::from_secs(2);
        assert_eq!(Hold::new(Some(length), false, true), Hold::For(length));
        assert_eq!(Hold::new(None, true, true), Hold::No);
        assert_eq!(Hold::new(None, false, true), Hold::UntilInterrupted);
    }
}
