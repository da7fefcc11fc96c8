//! Task-local context of the running call: its deadline and metadata are forwarded to the resources it calls, and the name
//! of its resource goes into log entries.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue, Request, uri::PathAndQuery};
use tracing::Level;

tokio::task_local! {
    static SCOPE: Scope;
}

/// Largest `grpc-timeout` that counts as a deadline.
const MAX_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Context of the running call or task, kept in a task-local variable.
#[derive(Clone, Debug)]
pub(crate) struct Scope(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    deadline: Option<Instant>,
    /// Metadata forwarded to the resources that are called in turn.
    metadata: Vec<(HeaderName, HeaderValue)>,
    label: OnceLock<Arc<Label>>,
    /// Path of the called method, such as `/viam.component.motor.v1.MotorService/Stop`; `None` outside any call.
    path: Option<PathAndQuery>,
    verbose: bool,
}

/// Log label of a resource.
#[derive(Debug)]
pub(crate) struct Label {
    /// Full name, such as `rdk:component:motor/left`.
    pub name: String,
    /// Log level of the resource if it differs from the module's.
    pub level: Option<Level>,
}

impl Scope {
    /// Creates the context of a call from its request.
    pub(crate) fn of_call<B>(request: &Request<B>, now: Instant) -> Self {
        let headers = request.headers();
        let deadline = headers
            .get("grpc-timeout")
            .and_then(|text| parse_timeout(text.to_str().ok()?))
            .and_then(|timeout| now.checked_add(timeout));
        let metadata = headers.iter().filter(|(name, _)| is_forwarded(name.as_str()));
        let metadata = metadata.map(|(name, value)| (name.clone(), value.clone())).collect();
        let verbose = headers.contains_key("dtname");
        Self(Arc::new(Inner {
            deadline,
            metadata,
            label: OnceLock::new(),
            path: request.uri().path_and_query().cloned(),
            verbose,
        }))
    }

    /// Creates the context of a resource's background task.
    pub(crate) fn of_resource(label: Arc<Label>) -> Self {
        let inner = Inner {
            deadline: None,
            metadata: Vec::new(),
            label: OnceLock::from(label),
            path: None,
            verbose: false,
        };
        Self(Arc::new(inner))
    }

    /// Runs a future in this context.
    pub(crate) fn run<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        SCOPE.scope(self, work)
    }

    /// Runs a closure in this context.
    pub(crate) fn run_sync<T>(&self, work: impl FnOnce() -> T) -> T {
        SCOPE.sync_scope(self.clone(), work)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// Sets the resource of the running call.
    pub(crate) fn mark(label: &Arc<Label>) {
        let _ = SCOPE.try_with(|scope| scope.0.label.set(label.clone()));
    }

    /// Returns the name of the running call's method, such as `GetReadings`; `None` outside any call.
    pub(crate) fn method() -> Option<String> {
        let path = SCOPE.try_with(|scope| scope.0.path.clone()).ok()??;
        let (_, method) = path.path().rsplit_once('/')?;
        Some(method.to_owned())
    }

    /// Passes the log label and whether the call asks for DEBUG to `read`.
    pub(crate) fn logging<T>(read: impl Fn(Option<&Label>, bool) -> T) -> T {
        let known = SCOPE.try_with(|scope| read(scope.0.label.get().map(Arc::as_ref), scope.0.verbose));
        known.unwrap_or_else(|_| read(None, false))
    }
}

/// Running call: its deadline and metadata. Empty in code that runs outside any call, such as a background task.
#[derive(Clone, Debug)]
pub struct Call(Option<Scope>);

impl Call {
    /// Returns the call on whose behalf the current task runs.
    #[must_use]
    pub fn current() -> Self {
        Self(SCOPE.try_with(Clone::clone).ok())
    }

    /// Returns the deadline of the caller (`grpc-timeout`). The SDK ends the call then with DEADLINE_EXCEEDED.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.as_ref()?.deadline()
    }

    /// Returns the id of the operation that the core assigned to the call, a UUID.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        self.header("opid")
    }

    /// Returns a metadata value of the caller, sent as header `viam-metadata-<key>`. The key matches in any case.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.header(&format!("viam-metadata-{}", key.to_ascii_lowercase()))
    }

    /// Runs a closure on behalf of this call, on whichever thread.
    pub(crate) fn run_sync<T>(self, work: impl FnOnce() -> T) -> T {
        match self.0 {
            Some(scope) => scope.run_sync(work),
            None => work(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.as_ref()?.0.metadata.iter().find(|(key, _)| key == name)?;
        value.to_str().ok()
    }

    /// Returns the headers to forward to a resource that is called on behalf of this call.
    pub(crate) fn forwarded(&self) -> &[(HeaderName, HeaderValue)] {
        self.0.as_ref().map_or(&[], |scope| &scope.0.metadata)
    }
}

fn is_forwarded(name: &str) -> bool {
    matches!(name, "opid" | "traceparent" | "tracestate" | "dtname") || name.starts_with("viam-metadata-")
}

/// Parses `grpc-timeout`: up to eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    let timeout = match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    };
    (timeout < MAX_TIMEOUT).then_some(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_in_every_unit() {
        for (text, timeout) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("99999999H", None),
            ("100000000n", None),
            ("", None),
            ("S", None),
            ("-1S", None),
            ("3s", None),
            ("3é", None),
        ] {
            assert_eq!(parse_timeout(text), timeout, "{text}");
        }
    }

    #[tokio::test]
    async fn code_knows_the_call_it_runs_for() {
        let mut request = Request::new(());
        *request.uri_mut() = http::Uri::from_static("/acme.v1.LampService/Shine");
        for (name, value) in [
            ("opid", "0a"),
            ("viam-metadata-who", "me"),
            ("authorization", "x"),
            ("grpc-timeout", "1S"),
        ] {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let now = Instant::now();
        Scope::of_call(&request, now)
            .run(async move {
                let call = Call::current();
                assert_eq!((call.operation(), call.metadata("WHO")), (Some("0a"), Some("me")));
                assert_eq!(call.deadline(), Some(now + Duration::from_secs(1)));
                assert_eq!(call.forwarded().len(), 2);
                assert_eq!(Scope::method().as_deref(), Some("Shine"));
                let elsewhere = std::thread::spawn(|| call.run_sync(Scope::method)).join();
                assert_eq!(elsewhere.ok().flatten().as_deref(), Some("Shine"));
                Scope::mark(&Arc::new(Label {
                    name: "a".into(),
                    level: None,
                }));
                assert_eq!(
                    Scope::logging(|label, _| label.map(|label| label.name.clone())),
                    Some("a".into())
                );
            })
            .await;
        assert!(Call::current().operation().is_none() && Scope::method().is_none());
        assert!(Scope::logging(|label, verbose| label.is_none() && !verbose));
    }
}
