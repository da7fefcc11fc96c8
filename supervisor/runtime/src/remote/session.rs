//! Keeper of our session with another machine: begun with the first call that sets something moving there, and kept alive until
//! the other machine lets go of it or the connection ends. A task of its own, because nothing else may hold its beats up.

use std::sync::Arc;
use std::time::Duration;

use mainstay_proto::viam::robot::v1::robot_service_client::RobotServiceClient;
use mainstay_proto::viam::robot::v1::{SendSessionHeartbeatRequest, StartSessionRequest};
use mainstay_proxy::upstream::Upstream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tonic::{Code, Status};
use tracing::{debug, warn};

use super::link::{Link, SessionReply, secret_header};
use super::within;

/// Heartbeats in the window in which the other machine must hear one.
const HEARTBEATS: u32 = 5;
/// Window where the other machine tells none.
const WINDOW: Duration = Duration::from_secs(2);
/// Shortest window.
const MIN_WINDOW: Duration = Duration::from_millis(30);

/// Answers those who ask for the session, as long as somebody may.
pub(super) async fn keep(upstream: Upstream, link: Arc<Link>, mut asked: mpsc::UnboundedReceiver<SessionReply>) {
    let mut client = RobotServiceClient::new(upstream);
    let mut sessionless = false;
    while let Some(reply) = asked.recv().await {
        let begun = if sessionless {
            None
        } else {
            begin(&mut client, &link, &mut sessionless).await
        };
        let _gone = reply.send(link.session.load().as_deref().cloned());
        if let Some((id, window)) = begun {
            beat(&mut client, &link, &id, window / HEARTBEATS, &mut asked).await;
            link.session.store(None);
        }
    }
}

/// Begins a session; its id and its window.
async fn begin(
    client: &mut RobotServiceClient<Upstream>,
    link: &Link,
    sessionless: &mut bool,
) -> Option<(String, Duration)> {
    match within(client.start_session(StartSessionRequest::default())).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            let window = answer
                .heartbeat_window
                .and_then(|window| Duration::try_from(window).ok());
            link.session.store(secret_header(&answer.id));
            Some((answer.id, window.unwrap_or(WINDOW).max(MIN_WINDOW)))
        }
        Err(status) => {
            *sessionless = status.code() == Code::Unimplemented;
            warn!("a remote gives no session for what moves there: {}", status.message());
            None
        }
    }
}

/// Keeps the session alive until it is over.
async fn beat(
    client: &mut RobotServiceClient<Upstream>,
    link: &Link,
    id: &str,
    every: Duration,
    asked: &mut mpsc::UnboundedReceiver<SessionReply>,
) {
    let mut beats = interval(every);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beats.tick() => {}
            Some(reply) = asked.recv() => {
                let known = link.session.load().as_deref().cloned();
                let over = known.is_none();
                let _gone = reply.send(known);
                if over {
                    return;
                }
                continue;
            }
        }
        // The other machine has refused it meanwhile.
        if link.session.load().is_none() {
            return;
        }
        let request = SendSessionHeartbeatRequest { id: id.to_owned() };
        let heard: Result<_, Status> = within(client.send_session_heartbeat(request)).await;
        if let Err(status) = heard {
            debug!("the session with a remote is over: {}", status.message());
            return;
        }
    }
}
