//! Notifications to the service manager: readiness, stopping, and that the event loop turns (`sd_notify(3)`).
//!
//! Messages are datagrams to the socket that NOTIFY_SOCKET names. The guardian is the service's main process and the
//! core sends them, so the unit needs `NotifyAccess=all`.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_proto::mainstay::control::v1::{ResourceState, Status};
use mainstay_runtime::rollout::driver::Reload;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Time after which a message that found no room is tried again, unless the watchdog's beat comes before.
const AGAIN: Duration = Duration::from_millis(500);
/// Messages that wait for room; the oldest is the least worth.
const MAX_UNSENT: usize = 16;

/// Socket of the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Longest silence of the event loop, if the service manager watches for it.
    watchdog: Option<Duration>,
    /// Messages that found no room in the service manager's queue, in order.
    unsent: Mutex<VecDeque<String>>,
    /// Told when something is unsent.
    waits: tokio::sync::Notify,
}

impl Notify {
    /// Notifier as the environment says. Something unusable there is told and then left alone.
    pub fn from_environment() -> Self {
        let pids = [std::process::id(), nix::unistd::getppid().as_raw().cast_unsigned()];
        Self::new(|name| std::env::var_os(name), pids)
    }

    /// `pids`: those of this process and of its guardian, which is the one that the service manager knows.
    fn new(variable: impl Fn(&str) -> Option<OsString>, pids: [u32; 2]) -> Self {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        let opened = address(&name).and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            // A service manager that sleeps must not hold us up.
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        });
        let socket = match opened {
            Ok(socket) => Some(socket),
            Err(error) => {
                warn!(
                    "NOTIFY_SOCKET is `{}`: {error}; the service manager hears nothing",
                    name.display()
                );
                None
            }
        };
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pids.iter().any(|own| u64::from(*own) == pid));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| *usec > 0 && ours);
        Self {
            socket,
            watchdog: watchdog.map(Duration::from_micros),
            ..Self::default()
        }
    }

    /// The start is over; `status` is shown by `systemctl status`. Also ends a reload.
    pub fn ready(&self, status: &str) {
        // A line break would begin the next assignment.
        self.send(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
    }

    /// Sends a notification at each reload of the config.
    pub async fn follow_reloads(self: Arc<Self>, mut reloads: mpsc::UnboundedReceiver<Reload>) {
        while let Some(reload) = reloads.recv().await {
            match reload {
                Reload::Begun => self.reloading(),
                Reload::Over(state) => self.ready(&format!("config: {state}")),
            }
        }
    }

    /// A new config is being taken up; `ready` follows.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    /// Sends a message behind those that wait; if there is no room it waits, too.
    fn send(&self, text: &str) {
        if self.socket.is_none() {
            return;
        }
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        unsent.push_back(text.to_owned());
        if unsent.len() > MAX_UNSENT {
            unsent.pop_front();
        }
        self.flush(&mut unsent);
        if !unsent.is_empty() {
            self.waits.notify_one();
        }
    }

    /// Sends what waits, and that the event loop turns. The next beat is as good as this one, so it does not wait.
    fn beat(&self) {
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        self.flush(&mut unsent);
        if unsent.is_empty() {
            self.flush(&mut VecDeque::from(["WATCHDOG=1".to_owned()]));
        }
    }

    fn flush(&self, unsent: &mut VecDeque<String>) {
        let Some((socket, address)) = &self.socket else {
            return;
        };
        while let Some(text) = unsent.front() {
            match socket.send_to_addr(text.as_bytes(), address) {
                Err(error) if is_full(&error) => return,
                // There is nobody else to tell that the service manager is gone.
                Ok(_) | Err(_) => unsent.pop_front(),
            };
        }
    }

    /// Waits until something that waits is to be tried again.
    async fn again(&self) {
        let waiting = || !self.unsent.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        while !waiting() {
            self.waits.notified().await;
        }
        tokio::time::sleep(AGAIN).await;
    }

    /// Reports until `over`: readiness once `states` tells of the end of the first pass, stopping once that is
    /// cancelled, and all the while that the event loop turns.
    pub async fn report(
        self: Arc<Self>,
        states: impl Stream<Item = Status>,
        stopping: CancellationToken,
        over: CancellationToken,
    ) {
        if self.socket.is_none() {
            return;
        }
        let mut states = std::pin::pin!(states);
        let mut watchdog = self.watchdog.map(|limit| {
            let mut ticks = interval(limit / 2);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let (mut ready, mut ending) = (false, false);
        loop {
            tokio::select! {
                () = over.cancelled() => return,
                () = stopping.cancelled(), if !ending => {
                    ending = true;
                    self.stopping();
                }
                state = states.next(), if !ready && !ending => match state {
                    Some(status) if status.settled_at.is_some() => {
                        ready = true;
                        self.ready(&summary(&status));
                    }
                    Some(_) => {}
                    None => ready = true,
                },
                () = tick(&mut watchdog) => self.beat(),
                () = self.again() => self.flush(&mut self.unsent.lock().unwrap_or_else(PoisonError::into_inner)),
            }
        }
    }
}

/// True if there was no room for a message.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(nix::libc::ENOBUFS)
}

async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn summary(status: &Status) -> String {
    let ready = status
        .resources
        .iter()
        .filter(|resource| resource.state() == ResourceState::Ready);
    let places: Vec<&str> = status
        .listeners
        .iter()
        .map(|listener| listener.address.as_str())
        .collect();
    format!(
        "serving on {}; {} of {} resources ready at the end of the start",
        places.join(", "),
        ready.count(),
        status.resources.len()
    )
}

/// A path, or with an `@` in front a name in the abstract namespace.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name),
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        _ => Err(io::Error::other("neither a path nor an abstract name such as `@name`")),
    }
}

#[cfg(test)]
mod tests {
    use mainstay_proto::mainstay::control::v1::Listener;

    use super::*;

    fn notify(socket: &OsStr, more: &[(&str, &str)]) -> Notify {
        let variable = |name: &str| {
            let more = more
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).into());
            if name == "NOTIFY_SOCKET" {
                Some(socket.to_owned())
            } else {
                more
            }
        };
        Notify::new(variable, [7, 6])
    }

    fn heard(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        manager
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a limit");
        let length = manager.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn the_watchdog_is_ours_if_it_names_us_or_our_guardian() {
        let limit = |more| notify(OsStr::new("/nowhere"), more).watchdog;
        let second = Some(Duration::from_secs(1));
        for (more, expected) in [
            (&[("WATCHDOG_USEC", "1000000")][..], second),
            (&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", "6")], second),
            (&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", "7")], second),
            (&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", "8")], None),
            (&[("WATCHDOG_USEC", "0")], None),
            (&[("WATCHDOG_USEC", "soon")], None),
            (&[], None),
        ] {
            assert_eq!(limit(more), expected, "{more:?}");
        }
        assert!(Notify::new(|_| None, [7, 6]).socket.is_none());
        assert!(notify(OsStr::new("vsock:2:1"), &[]).socket.is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn abstract_names_and_paths_both_work() {
        use std::os::linux::net::SocketAddrExt;
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("notify");
        let by_path = UnixDatagram::bind(&path).expect("free");
        let name = format!("mainstay-test-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).expect("short")).expect("free");
        for (manager, address) in [(by_path, path.into_os_string()), (by_name, format!("@{name}").into())] {
            let notify = notify(&address, &[]);
            notify.ready("two\nlines");
            assert_eq!(heard(&manager), "READY=1\nSTATUS=two lines");
            notify.reloading();
            let text = heard(&manager);
            let usec = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("both");
            assert!(usec.parse::<u64>().is_ok_and(|usec| usec > 0), "{text}");
        }
    }

    #[tokio::test]
    async fn what_met_a_full_queue_is_sent_again_in_its_order() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("free");
        let filler = UnixDatagram::unbound().expect("a socket");
        filler.set_nonblocking(true).expect("ours");
        let mut stuffed = 0;
        while filler.send_to(b"full", &path).is_ok() {
            stuffed += 1;
        }
        let notify = Arc::new(notify(path.as_os_str(), &[]));
        let over = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(Arc::clone(&notify).report(tokio_stream::pending(), CancellationToken::new(), over.clone()));
        notify.reloading();
        notify.ready("well");
        notify.beat();
        let texts = tokio::task::spawn_blocking(move || {
            let fillers = (0..stuffed).filter(|_| heard(&manager) == "full").count();
            (fillers, heard(&manager), heard(&manager))
        });
        let (fillers, first, second) = texts.await.expect("no panic");
        assert!(stuffed > 0 && fillers == stuffed, "{fillers} of {stuffed}");
        assert!(first.starts_with("RELOADING=1"), "{first}");
        assert_eq!(second, "READY=1\nSTATUS=well");
        over.cancel();
        tasks.join_next().await.expect("one task").expect("no panic");
    }

    #[tokio::test]
    async fn a_run_is_reported_from_readiness_to_stopping() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("free");
        let notify = notify(path.as_os_str(), &[("WATCHDOG_USEC", "20000")]);
        let (stopping, over) = (CancellationToken::new(), CancellationToken::new());
        let (states, incoming) = mpsc::unbounded_channel();
        let incoming = tokio_stream::wrappers::UnboundedReceiverStream::new(incoming);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(Arc::new(notify).report(incoming, stopping.clone(), over.clone()));
        let until = async |wanted: &str| loop {
            let manager = manager.try_clone().expect("a descriptor");
            let text = tokio::task::spawn_blocking(move || heard(&manager))
                .await
                .expect("no panic");
            if text != "WATCHDOG=1" {
                assert_eq!(text, wanted);
                return;
            }
        };
        let mut status = Status {
            listeners: vec![Listener {
                address: "[::1]:1".into(),
                ..Listener::default()
            }],
            ..Status::default()
        };
        states.send(status.clone()).expect("it listens");
        status.settled_at = Some(prost_types::Timestamp::default());
        states.send(status).expect("it listens");
        until("READY=1\nSTATUS=serving on [::1]:1; 0 of 0 resources ready at the end of the start").await;
        let manager_clone = manager.try_clone().expect("a descriptor");
        let beat = tokio::task::spawn_blocking(move || heard(&manager_clone))
            .await
            .expect("no panic");
        assert_eq!(beat, "WATCHDOG=1");
        stopping.cancel();
        until("STOPPING=1\nSTATUS=stopping").await;
        over.cancel();
        tasks.join_next().await.expect("one task").expect("no panic");
    }
}
