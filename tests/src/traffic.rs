//! Callers that never pause for long, and remember each call that failed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_proto::viam::common::v1::GetReadingsRequest;
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::Request;

use crate::rpc;
use crate::world::World;

/// How long one call may take before it counts as failed. Generous, because test machines are slow.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// What happened to the calls so far.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    /// Calls that were answered.
    pub answered: u32,
    /// What became of the others: when, since the traffic began, and why.
    pub failed: Vec<(Duration, String)>,
    /// The longest time to an answer.
    pub slowest: Duration,
}

/// One caller per resource, each on a connection of its own, until it is dropped or [`Traffic::end`]s.
pub struct Traffic {
    calls: Arc<Mutex<Calls>>,
    _callers: JoinSet<()>,
}

impl Traffic {
    /// Calls `GetReadings` of each of these sensors once every `pause`.
    pub fn on(world: &World, sensors: &[&str], pause: Duration) -> Self {
        Self::start(
            world,
            "/viam.component.sensor.v1.SensorService/GetReadings",
            sensors,
            pause,
        )
    }

    /// Asks this motor whether it moves, once every `pause`.
    pub fn of_motor(world: &World, motor: &str, pause: Duration) -> Self {
        Self::start(world, "/viam.component.motor.v1.MotorService/IsMoving", &[motor], pause)
    }

    fn start(world: &World, method: &'static str, resources: &[&str], pause: Duration) -> Self {
        let calls = Arc::new(Mutex::new(Calls::default()));
        let mut callers = JoinSet::new();
        let begun = Instant::now();
        for resource in resources {
            let (calls, channel) = (Arc::clone(&calls), world.channel());
            let request = GetReadingsRequest {
                name: (*resource).to_owned(),
                extra: None,
            };
            callers.spawn(async move {
                loop {
                    let sent = Instant::now();
                    // The name is field 1 of either request; what the answer says is of no interest.
                    let message = Request::new(request.encode_to_vec().into());
                    let call = rpc::call_raw(channel.clone(), method, message);
                    let outcome = match tokio::time::timeout(CALL_LIMIT, call).await {
                        Ok(Ok(_)) => Ok(()),
                        Ok(Err(status)) => Err(format!("{}: {status}", request.name)),
                        Err(_elapsed) => Err(format!("{}: no answer within {CALL_LIMIT:?}", request.name)),
                    };
                    {
                        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
                        match outcome {
                            Ok(()) => calls.answered += 1,
                            Err(why) => calls.failed.push((begun.elapsed(), why)),
                        }
                        calls.slowest = calls.slowest.max(sent.elapsed());
                    }
                    tokio::time::sleep(pause).await;
                }
            });
        }
        Self {
            calls,
            _callers: callers,
        }
    }

    /// What happened so far.
    pub fn so_far(&self) -> Calls {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops calling, and says what happened.
    pub fn end(self) -> Calls {
        self.so_far()
    }
}

impl Calls {
    /// # Errors
    /// When a call failed, or none was answered.
    pub fn none_failed(&self) -> Result<(), String> {
        match self.failed.first() {
            Some((when, why)) => Err(format!(
                "{} of {} calls of healthy neighbours failed; the first after {when:?}: {why}",
                self.failed.len(),
                self.answered as usize + self.failed.len()
            )),
            None if self.answered == 0 => Err("no call of a healthy neighbour was answered".to_owned()),
            None => Ok(()),
        }
    }
}
