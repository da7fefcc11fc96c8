//! Session with a machine: begun by the first call that sets something moving, kept alive by heartbeats. When they end, with
//! the program or its connection, the machine stops what was moved.

use std::time::Duration;

use http::HeaderValue;
use mainstay_proto::viam::robot::v1::{
    SendSessionHeartbeatRequest, StartSessionRequest, robot_service_client::RobotServiceClient,
};
use tokio::{
    sync::Mutex,
    time::{MissedTickBehavior, interval, timeout},
};
use tonic::{Code, Status};

use super::{connection::Connection, transport::origin};

/// Heartbeats in the window in which the machine must hear one.
const HEARTBEATS: u32 = 5;
/// Window of a machine that tells none.
const WINDOW: Duration = Duration::from_secs(2);
/// Shortest window.
const MIN_WINDOW: Duration = Duration::from_millis(30);
/// Longest wait for the answer to a request of the session's own.
const ANSWER: Duration = Duration::from_secs(5);
/// Text of the status with which a machine refuses a session that is over.
const EXPIRED: &str = "SESSION_EXPIRED";

/// True if a machine refuses a call because its session is over.
pub(super) fn is_expired(status: &Status) -> bool {
    status.code() == Code::InvalidArgument && status.message() == EXPIRED
}

/// Session of one program with one machine.
#[derive(Default)]
pub(super) struct Session(Mutex<State>);

#[derive(Default)]
enum State {
    /// There is none yet, or it is over. The last one's id, which the machine may still know.
    #[default]
    None,
    /// It lives, as far as is known.
    Live(HeaderValue),
    /// The machine has no sessions, on the connection of this number.
    NotOffered(u64),
}

impl Session {
    /// Returns the id of the session, which is begun if there is none; `None` if the machine has no sessions.
    ///
    /// # Errors
    /// The machine has sessions and gives none: what moved would not be stopped when this program ends.
    pub(super) async fn id(&self, connection: &Connection) -> Result<Option<HeaderValue>, Status> {
        let mut state = self.0.lock().await;
        match &*state {
            State::Live(id) => return Ok(Some(id.clone())),
            State::NotOffered(life) if *life == connection.life() => return Ok(None),
            State::NotOffered(_) | State::None => {}
        }
        let mut service = RobotServiceClient::with_origin(connection.clone(), origin());
        let late = |_| Status::deadline_exceeded(format!("no answer within {ANSWER:?}"));
        let started = timeout(ANSWER, service.start_session(StartSessionRequest::default()));
        let started = started.await.map_err(late).and_then(|answer| answer);
        let answer = match started {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::Unimplemented => {
                tracing::debug!("the machine has no sessions: what moves is not stopped when this program ends");
                *state = State::NotOffered(connection.life());
                return Ok(None);
            }
            Err(status) => {
                let text = format!(
                    "the machine gives no session, without which nothing is moved: {}",
                    status.message()
                );
                return Err(Status::new(status.code(), text));
            }
        };
        let Ok(id) = HeaderValue::from_str(&answer.id) else {
            return Err(Status::internal(
                "the machine's session has an id that no header can carry",
            ));
        };
        let window = answer
            .heartbeat_window
            .and_then(|window| Duration::try_from(window).ok());
        let every = window.unwrap_or(WINDOW).max(MIN_WINDOW) / HEARTBEATS;
        *state = State::Live(id.clone());
        drop(state);
        connection.spawn(beat(connection.clone(), id.clone(), answer.id, every));
        Ok(Some(id))
    }

    /// Notes that the machine does not know this session any more. The next call that moves something begins another.
    pub(super) async fn expired(&self, id: &HeaderValue) {
        let mut state = self.0.lock().await;
        if matches!(&*state, State::Live(live) if live == id) {
            *state = State::None;
        }
    }

    async fn is_live(&self, id: &HeaderValue) -> bool {
        matches!(&*self.0.lock().await, State::Live(live) if live == id)
    }
}

/// Keeps one session alive until the machine refuses it. A connection that is lost changes nothing: if the next one comes
/// in time, the session goes on.
async fn beat(connection: Connection, header: HeaderValue, id: String, every: Duration) {
    let Some(session) = connection.session() else { return };
    let mut service = RobotServiceClient::with_origin(connection.clone(), origin());
    let mut beats = interval(every);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        if !session.is_live(&header).await {
            return;
        }
        let request = SendSessionHeartbeatRequest { id: id.clone() };
        match timeout(ANSWER, service.send_session_heartbeat(request)).await {
            Ok(Err(status)) if status.code() != Code::Unavailable => {
                tracing::debug!("the session is over: {}", status.message());
                session.expired(&header).await;
                return;
            }
            Ok(_) | Err(_) => {}
        }
    }
}
