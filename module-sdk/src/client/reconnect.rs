//! Keeper of a program's connection to a machine: makes it, and makes it again whenever it is lost, with pauses that grow.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use http::HeaderValue;
use mainstay_proto::viam::robot::v1::{ResourceNamesRequest, robot_service_client::RobotServiceClient};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status, metadata::MetadataValue};

use super::{
    connection::{Connection, Link, LinkState},
    managed::CONNECT,
    transport::{Transport, origin},
};
use crate::{Error, Result};

/// First pause after a failed attempt. It doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Connection that lasted this long counts as good: the pauses begin anew after it.
const GOOD: Duration = Duration::from_secs(10);

/// Makes the first connection, and keeps one from then on.
///
/// # Errors
/// There is none: at once if another attempt would end alike, otherwise when the patience of calls is over.
pub(super) async fn start(connection: &Connection) -> Result<()> {
    let Some(managed) = &connection.link().managed else {
        return Ok(());
    };
    let (begun, mut failures) = (Instant::now(), 0);
    while let Err(error) = establish(connection).await {
        failures += 1;
        let next = pause(failures);
        if error.code() != Code::Unavailable || begun.elapsed() + next > managed.patience() {
            return Err(error);
        }
        sleep(next).await;
    }
    connection.spawn(keep(connection.weak()));
    Ok(())
}

/// Connects again whenever the connection is lost.
async fn keep(connection: Connection) {
    let address = connection.address();
    let prefix = format!("cannot connect to {address}: ");
    let mut failures = 0;
    loop {
        let begun = Instant::now();
        connection.closed().await;
        failures = if begun.elapsed() < GOOD { failures + 1 } else { 0 };
        tracing::warn!(
            address,
            "the connection to the machine is lost; it is made again by itself"
        );
        loop {
            // At once after a connection that was good.
            sleep(pause(failures)).await;
            match establish(&connection).await {
                Ok(()) => break,
                Err(error) => {
                    failures += 1;
                    tracing::debug!(address, "no connection: {error}");
                    connection
                        .link()
                        .still_down(error.message().trim_start_matches(&*prefix));
                }
            }
        }
        tracing::info!(address, "connected to the machine again");
    }
}

/// Makes one connection: dials, shows the credentials, and asks for something.
async fn establish(connection: &Connection) -> Result<()> {
    let (link, address) = (connection.link(), connection.address());
    let Some(managed) = &link.managed else { return Ok(()) };
    let attempt = async {
        let (transport, end) = link.endpoint.open().await?;
        let life = connection.drive(end);
        managed.begin_anew();
        let answers = async {
            let authorization = managed.authorization(&transport).await?;
            probe(&transport, authorization.as_ref()).await
        };
        answers.await.map_err(|status| managed.refused(&address, &status))?;
        link.put_up(transport, life);
        Ok(())
    };
    let late = |_| {
        Error::unavailable(format_args!(
            "cannot connect to {address}: no answer within {CONNECT:?}"
        ))
    };
    timeout(CONNECT, attempt).await.map_err(late)?
}

/// Asks what every machine answers. Servers that are none, such as a module, say that they do not know it.
async fn probe(transport: &Transport, authorization: Option<&HeaderValue>) -> Result<(), Status> {
    let mut request = tonic::Request::new(ResourceNamesRequest {});
    if let Some(value) = authorization.and_then(|value| MetadataValue::try_from(value.as_bytes()).ok()) {
        request.metadata_mut().insert("authorization", value);
    }
    let mut service = RobotServiceClient::with_origin(transport.clone(), origin());
    match service.resource_names(request).await {
        // It is there, and has more to do than to answer.
        Err(status) if !matches!(status.code(), Code::Unimplemented | Code::ResourceExhausted) => Err(status),
        _ => Ok(()),
    }
}

impl Link {
    /// Notes why an attempt failed.
    fn still_down(&self, why: &str) {
        self.state.send_if_modified(|state| match state {
            LinkState::Down { cause, .. } if **cause != *why => {
                *cause = why.into();
                true
            }
            _ => false,
        });
    }
}

/// Pause before the next attempt: none before the first, then longer each time, and each a little different, so that many
/// programs do not come at once.
fn pause(failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let whole = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(16)).min(LAST_PAUSE);
    let chance = RandomState::new().hash_one(failures) % 1024;
    #[expect(clippy::cast_precision_loss, reason = "some number between 0 and 1")]
    whole.mul_f64(0.5 + chance as f64 / 2048.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        assert_eq!(pause(0), Duration::ZERO);
        for (failures, longest) in [(1, 100), (2, 200), (6, 3200), (7, 5000), (u32::MAX, 5000)] {
            let longest = Duration::from_millis(longest);
            let pauses: Vec<_> = (0..20).map(|_| pause(failures)).collect();
            assert!(
                pauses.iter().all(|pause| (longest / 2..=longest).contains(pause)),
                "{pauses:?}"
            );
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}
