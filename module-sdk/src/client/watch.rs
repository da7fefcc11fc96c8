//! Watch of a machine: its state, asked for at an interval, and that of the connection, known at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_core::Stream;
use mainstay_proto::viam::robot::v1::{GetMachineStatusRequest, robot_service_client::RobotServiceClient};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    connection::{Connection, LinkState},
    status::MachineStatus,
    transport::origin,
};
use crate::{Code, Error, MAX_MESSAGE_BYTES, Result};

/// Longest wait for the status of a machine.
const ANSWER: Duration = Duration::from_secs(5);
/// Shortest pause between two questions.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// State of the connection to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Calls go through.
    Connected,
    /// Calls wait or fail; it is tried again by itself.
    Disconnected {
        /// Begin of the outage.
        since: Instant,
        /// Reason of the last failure.
        cause: Arc<str>,
    },
    /// It was closed by this program.
    Closed,
}

impl ConnectionState {
    pub(super) fn of(state: &LinkState) -> Self {
        match state {
            LinkState::Up { .. } => Self::Connected,
            LinkState::Down { since, cause, .. } => Self::Disconnected {
                since: *since,
                cause: cause.clone(),
            },
            LinkState::Closed => Self::Closed,
        }
    }
}

/// Machine as it was last seen.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MachineView {
    /// State of the connection.
    pub connection: ConnectionState,
    /// State of the machine. `None` before the first answer and while the connection is down.
    pub status: Option<Arc<MachineStatus>>,
    /// Reason why a machine that is connected has not told its state: UNIMPLEMENTED if it never tells.
    pub error: Option<Error>,
}

impl MachineView {
    /// Returns true if the connection is up and the resource of this name, simple or full, can be called.
    #[must_use]
    pub fn is_ready(&self, name: &str) -> bool {
        self.status.as_ref().is_some_and(|status| status.is_ready(name))
    }

    /// Returns true while the connection is up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connection == ConnectionState::Connected
    }
}

/// Follower of a machine, from [`Robot::watch`](crate::Robot::watch). Views that nobody waited for are left out: the newest
/// counts. It does not keep the connection, and asks no more once it is dropped.
pub struct Watch {
    views: watch::Receiver<MachineView>,
}

impl Watch {
    pub(super) fn start(connection: &Connection, interval: Duration) -> Self {
        let (sender, views) = watch::channel(MachineView {
            connection: ConnectionState::of(&connection.link().state.borrow()),
            status: None,
            error: None,
        });
        connection.spawn(follow(connection.weak(), sender, interval.max(MIN_INTERVAL)));
        Self { views }
    }

    /// Returns the machine as it was last seen.
    #[must_use]
    pub fn now(&self) -> MachineView {
        self.views.borrow().clone()
    }

    /// Waits for the next change. `None` once the robot is closed or dropped.
    pub async fn changed(&mut self) -> Option<MachineView> {
        self.views.changed().await.ok()?;
        Some(self.views.borrow_and_update().clone())
    }

    /// Waits until the machine satisfies a condition, and returns it.
    ///
    /// # Errors
    /// CANCELLED if the robot is closed or dropped first.
    pub async fn until(&mut self, condition: impl Fn(&MachineView) -> bool) -> Result<MachineView> {
        let view = self.views.wait_for(condition).await;
        view.map(|view| view.clone())
            .map_err(|_| Error::cancelled("the connection to the machine was closed by this program"))
    }

    /// Converts it into a stream that begins with the machine as it is now, and ends when the robot is closed or dropped.
    pub fn into_stream(self) -> impl Stream<Item = MachineView> + Send + Unpin {
        let first = Some(self.now());
        Box::pin(futures_util::stream::unfold(
            (self, first),
            async |(mut watch, first)| {
                let view = match first {
                    Some(first) => first,
                    None => watch.changed().await?,
                };
                Some((view, (watch, None)))
            },
        ))
    }
}

/// Publishes views until nobody looks.
async fn follow(connection: Connection, views: watch::Sender<MachineView>, interval: Duration) {
    let mut state = connection.link().state.subscribe();
    loop {
        let current = ConnectionState::of(&state.borrow_and_update());
        let connected = current == ConnectionState::Connected;
        let known = if connected { views.borrow().status.clone() } else { None };
        publish(&views, current.clone(), known, None);
        let mut asks = connected;
        if connected {
            let (status, error) = ask(&connection).await;
            asks = error.as_ref().is_none_or(|error| error.code() != Code::Unimplemented);
            // What broke off with the connection is told as that.
            if state.borrow().is_up() {
                publish(&views, current, status, error);
            }
        }
        tokio::select! {
            () = sleep(interval), if asks => {}
            changed = state.changed() => if changed.is_err() { return },
            () = views.closed() => return,
        }
    }
}

async fn ask(connection: &Connection) -> (Option<Arc<MachineStatus>>, Option<Error>) {
    let mut service =
        RobotServiceClient::with_origin(connection.clone(), origin()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    match timeout(ANSWER, service.get_machine_status(GetMachineStatusRequest {})).await {
        Ok(Ok(answer)) => (Some(Arc::new(answer.into_inner().into())), None),
        Ok(Err(status)) => (None, Some(status.into())),
        Err(_) => {
            let text = format_args!("the machine did not tell its state within {ANSWER:?}");
            (None, Some(Error::deadline_exceeded(text)))
        }
    }
}

fn publish(
    views: &watch::Sender<MachineView>,
    connection: ConnectionState,
    status: Option<Arc<MachineStatus>>,
    error: Option<Error>,
) {
    let next = MachineView {
        connection,
        status,
        error,
    };
    views.send_if_modified(|view| {
        let changed = *view != next;
        *view = next;
        changed
    });
}
