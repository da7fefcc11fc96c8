//! Calls in flight of one caller, and how many it may have: of a standard API, so many at each resource, as with peers
//! (`VIAM_RESOURCE_REQUESTS_LIMIT`). Unlike there, nobody is refused because of somebody else's calls.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::status::CallError;

/// Most calls in flight of one caller at one resource.
static LIMIT: LazyLock<usize> = LazyLock::new(|| limit(std::env::var("VIAM_RESOURCE_REQUESTS_LIMIT").ok().as_deref()));

/// The limit for this value of the variable. What is no positive number counts as none.
fn limit(given: Option<&str>) -> usize {
    let given = given.and_then(|given| given.trim().parse().ok());
    given.filter(|limit| *limit > 0).unwrap_or(100)
}

/// Whether unary calls of the method with this path are limited in number: those of the standard APIs are, but what
/// stops something, keeps a session alive or carries logs always passes.
pub(crate) fn is_limited(path: &str) -> bool {
    match path.strip_prefix("/viam.robot.v1.RobotService/") {
        Some(method) => !matches!(
            method,
            "Log" | "SendTraces" | "StopAll" | "CancelOperation" | "StartSession" | "SendSessionHeartbeat"
        ),
        None => path.starts_with("/viam.component.") || path.starts_with("/viam.service."),
    }
}

type CallCounts = HashMap<Arc<str>, usize>;

/// The calls of one caller that run, counted by resource. Clones are the same caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallerCalls(Arc<Mutex<CallCounts>>);

/// A call that is counted until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlightCall {
    caller: CallerCalls,
    resource: Arc<str>,
}

impl CallerCalls {
    /// Counts one more call of `resource`; `key` is its name for the error text.
    pub(crate) fn begin(&self, resource: &Arc<str>, key: impl FnOnce() -> String) -> Result<InFlightCall, CallError> {
        self.begin_within(*LIMIT, resource, key)
    }

    fn begin_within(
        &self,
        limit: usize,
        resource: &Arc<str>,
        key: impl FnOnce() -> String,
    ) -> Result<InFlightCall, CallError> {
        let mut counts = self.counts();
        let count = counts.entry(resource.clone()).or_default();
        if *count >= limit {
            return Err(CallError::TooManyInFlight { limit, key: key() });
        }
        *count += 1;
        Ok(InFlightCall {
            caller: self.clone(),
            resource: resource.clone(),
        })
    }

    fn counts(&self) -> MutexGuard<'_, CallCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlightCall {
    fn drop(&mut self) {
        let mut counts = self.caller.counts();
        if let Some(count) = counts.get_mut(&self.resource) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.resource);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn the_limit_is_a_positive_number() {
        for (given, wanted) in [
            (None, 100),
            (Some("7"), 7),
            (Some(" 250 "), 250),
            (Some("0"), 100),
            (Some("-1"), 100),
            (Some("many"), 100),
            (Some(""), 100),
        ] {
            assert_eq!(limit(given), wanted, "{given:?}");
        }
    }

    #[test]
    fn what_stops_or_reports_is_not_limited_nor_are_custom_apis() {
        for (path, limited) in [
            ("/viam.component.motor.v1.MotorService/SetPower", true),
            ("/viam.service.vision.v1.VisionService/GetDetections", true),
            ("/viam.robot.v1.RobotService/GetMachineStatus", true),
            ("/viam.robot.v1.RobotService/Log", false),
            ("/viam.robot.v1.RobotService/StopAll", false),
            ("/viam.robot.v1.RobotService/SendSessionHeartbeat", false),
            ("/acme.v1.Gizmo/Turn", false),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", false),
        ] {
            assert_eq!(is_limited(path), limited, "{path}");
        }
    }

    #[test]
    fn of_130_calls_at_once_100_run_and_no_other_caller_or_resource_is_in_the_way() {
        let (one, other) = (CallerCalls::default(), CallerCalls::default());
        let (left, right) = ("motor/left".into(), "motor/right".into());
        let begin = |caller: &CallerCalls, resource| caller.begin_within(100, resource, || "left.MotorService".into());
        let (mut running, refused): (Vec<_>, Vec<_>) = (0..130).map(|_| begin(&one, &left)).partition(Result::is_ok);
        assert_eq!((running.len(), refused.len()), (100, 30));
        for refused in refused {
            let error = refused.expect_err("refused");
            assert_eq!(error.code(), Code::ResourceExhausted);
            let text = "exceeded the shared concurrent-request limit of 100 on resource left.MotorService.";
            assert!(error.to_string().starts_with(text), "{error}");
        }
        let others = (begin(&other, &left), begin(&one, &right), begin(&one.clone(), &left));
        assert!(others.0.is_ok() && others.1.is_ok() && others.2.is_err());
        running.pop();
        assert!(begin(&one, &left).is_ok());
        drop((running, others));
        assert!(one.counts().is_empty() && other.counts().is_empty());
    }
}
