//! Continuous calls to resources, with a record of each failure.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_proto::viam::common::v1::GetReadingsRequest;
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::Request;

use crate::rpc;
use crate::world::World;

/// Timeout after which a call counts as failed. Generous, because test machines are slow.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Results of the calls so far.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    /// Number of successful calls.
    pub answered: u32,
    /// Failed calls: time since the start of the traffic, and error.
    pub failed: Vec<(Duration, String)>,
    /// Longest latency of a call.
    pub slowest: Duration,
}

/// Running callers, one per resource and each on its own connection, until dropped or [`Traffic::end`]ed.
pub struct Traffic {
    calls: Arc<Mutex<Calls>>,
    _callers: JoinSet<()>,
}

impl Traffic {
    /// Starts callers of `GetReadings` of these sensors, one call every `pause`.
    pub fn on(world: &World, sensors: &[&str], pause: Duration) -> Self {
        Self::start(
            world,
            "/viam.component.sensor.v1.SensorService/GetReadings",
            sensors,
            pause,
        )
    }

    /// Starts a caller of `IsMoving` of this motor, one call every `pause`.
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

    /// Returns the results so far.
    pub fn so_far(&self) -> Calls {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the callers, and returns the results.
    pub fn end(self) -> Calls {
        self.so_far()
    }
}

impl Calls {
    /// # Errors
    /// If a call failed, or none succeeded.
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
