//! The core, as the module sees it: connected to when it asks whether the module is ready, watched from then on, and
//! reason to end when it is gone.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{Code, Result, Robot, address::Address};

/// How often the core is asked whether it is still there. The end of the connection tells sooner.
const POLL: Duration = Duration::from_secs(10);
/// How long it may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// How often it may fail to answer.
const MISSES: u32 = 3;
/// How often a lost connection is dialled again, and after what pause.
const REDIALS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// The connection to the core.
#[derive(Default)]
pub(crate) struct Parent {
    robot: Mutex<Option<Robot>>,
    /// The first connection at once, or the one to a new address.
    connecting: tokio::sync::Mutex<()>,
}

impl Parent {
    /// Connects, unless it is connected there already, and asks once, because a core that does not answer here will
    /// not answer later. Gives the new connection.
    pub(crate) async fn connect(&self, address: &str) -> Result<Option<Robot>> {
        // `Ready` may come again while the first one is still at work.
        let _alone = self.connecting.lock().await;
        let address = Address::parse(address);
        if let Some(robot) = self.robot()
            && *robot.connection().address() == address
        {
            if robot.connection().is_closed() {
                robot.connection().reopen().await?;
            }
            return Ok(None);
        }
        let robot = Robot::open(address).await?;
        robot
            .answers(LIMIT)
            .await
            .map_err(|error| error.context("the core does not answer ResourceNames"))?;
        *self.robot.lock().unwrap_or_else(PoisonError::into_inner) = Some(robot.clone());
        Ok(Some(robot))
    }

    pub(crate) fn robot(&self) -> Option<Robot> {
        self.robot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Waits until the core is gone for good, and says how that showed.
pub(crate) async fn watch(robot: &Robot) -> String {
    let mut misses = 0;
    loop {
        tokio::select! {
            () = robot.connection().closed() => match redial(robot).await {
                Ok(()) => misses = 0,
                Err(error) => return format!("the core is gone: {error}"),
            },
            () = tokio::time::sleep(POLL) => match robot.answers(LIMIT).await {
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
