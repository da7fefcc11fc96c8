//! Connection from the module to its parent, the core: opened at the `Ready` request, watched from then on. The module
//! ends when it is lost.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{Code, Result, Robot, address::Address};

/// Interval of liveness checks. A closed connection is noticed at once.
const POLL: Duration = Duration::from_secs(10);
/// Timeout of one liveness check.
const LIMIT: Duration = Duration::from_secs(5);
/// Number of failed checks after which the core counts as lost.
const MISSES: u32 = 3;
/// Number of reconnection attempts after a lost connection.
const REDIALS: u32 = 10;
/// Pause between reconnection attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Shared slot of the connection to the core.
#[derive(Default)]
pub(crate) struct Parent {
    robot: Mutex<Option<Robot>>,
    /// Held while connecting, so that concurrent `Ready` requests open one connection.
    connecting: tokio::sync::Mutex<()>,
}

impl Parent {
    /// Connects to an address, unless connected to it already, and checks that the core responds there. Returns the
    /// connection if it is a new one.
    pub(crate) async fn connect(&self, address: &str) -> Result<Option<Robot>> {
        // `Ready` may come again while the first one is still at work.
        let _alone = self.connecting.lock().await;
        let address = Address::parse(address);
        if let Some(robot) = self.robot()
            && robot.connection().leads_to(&address)
        {
            if robot.connection().is_closed() {
                robot.connection().reopen().await?;
            }
            return Ok(None);
        }
        let robot = Robot::open(address).await?;
        robot
            .check_alive(LIMIT)
            .await
            .map_err(|error| error.context("the core does not answer ResourceNames"))?;
        *self.robot.lock().unwrap_or_else(PoisonError::into_inner) = Some(robot.clone());
        Ok(Some(robot))
    }

    pub(crate) fn robot(&self) -> Option<Robot> {
        self.robot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Waits until the core is lost for good, and returns the reason.
pub(crate) async fn watch(robot: &Robot) -> String {
    let mut misses = 0;
    loop {
        tokio::select! {
            () = robot.connection().closed() => match redial(robot).await {
                Ok(()) => misses = 0,
                Err(error) => return format!("the core is gone: {error}"),
            },
            () = tokio::time::sleep(POLL) => match robot.check_alive(LIMIT).await {
                Ok(()) => misses = 0,
                // It is there, and has more to do than to answer.
                Err(error) if error.code() == Code::ResourceExhausted => misses = 0,
                Err(error) => {
                    misses += 1;
                    if misses == MISSES {
                        return format!("the core does not answer any more: {error}");
                    }
                }
            },
        }
    }
}

async fn redial(robot: &Robot) -> Result<()> {
    let mut left = REDIALS;
    loop {
        match robot.connection().reopen().await {
            Ok(()) => return Ok(()),
            Err(error) if left == 0 => return Err(error),
            Err(_) => left -= 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
