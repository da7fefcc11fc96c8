//! Process of a module: arguments, runtime, signals, and the order of shutdown.

use std::{env, process::ExitCode, sync::Arc, time::Duration};

use mainstay_proto::viam::module::v1::module_service_server::{ModuleServiceServer, SERVICE_NAME};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Level;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    Error, MAX_MESSAGE_BYTES, Module, Result, Robot, Service,
    address::{Address, Listener},
    logs::{self, LogSender},
    panics::log_panics,
    parent,
    reflect::Reflection,
    server::Services,
    service::Host,
};

/// Grace for running calls after all resources are closed.
const DRAIN: Duration = Duration::from_millis(300);
/// Timeout for closing all resources together. The core sends SIGKILL ten seconds after SIGTERM.
const CLOSE: Duration = Duration::from_secs(3);

/// Command-line arguments that the core passes to a module.
#[derive(Debug, PartialEq, Eq)]
pub struct Args {
    /// Address to listen on: the path of a UNIX socket, or `127.0.0.1:port`. `-`: standard input is the one connection that
    /// is served, and the process ends with it.
    pub address: String,
    /// Log level (`--log-level=LEVEL`); INFO by default.
    pub level: Level,
}

impl Args {
    /// Parses the arguments after the program's name. Unknown arguments are ignored.
    ///
    /// # Errors
    /// INVALID_ARGUMENT if the first argument is not an address.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut args = args.into_iter();
        let address = args
            .next()
            .filter(|address| address == Address::STDIN || !address.starts_with('-') && !address.is_empty());
        let address = address.ok_or_else(|| {
            Error::invalid_argument(
                "a module is started by its machine, which gives the socket to listen on as first argument",
            )
        })?;
        // The last word counts, and one that nobody knows changes nothing: the core does not check it either.
        let level = args
            .filter_map(|arg| logs::parse_level(arg.strip_prefix("--log-level=")?))
            .last();
        Ok(Self {
            address,
            level: level.unwrap_or(Level::INFO),
        })
    }
}

/// Runs a module until it gets SIGTERM or SIGINT or loses the core, and returns the exit code for `main`.
///
/// Parses the command line, sends log entries to the core, and serves on one thread. Fails, with the reason on stderr, if
/// the arguments are wrong, the models contradict each other or the address cannot be bound, and when the core is lost.
pub fn run(module: Module) -> ExitCode {
    match Args::parse(env::args().skip(1)).and_then(|args| block_on(module, args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            // Before the layer is installed nobody hears that.
            if !tracing::dispatcher::has_been_set() {
                eprintln!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn block_on(module: Module, args: Args) -> Result<()> {
    let name = env::var("VIAM_MODULE_NAME").unwrap_or_else(|_| "module".to_owned());
    let (layer, sender) = logs::channel(&name, args.level);
    // An author who has a subscriber already keeps it; then the queue stays empty.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(serve(module, args, sender));
    // A driver's blocking call must not keep the process.
    runtime.shutdown_background();
    result
}

async fn serve(module: Module, args: Args, logs: LogSender) -> Result<()> {
    let stop = CancellationToken::new();
    let alone = env::var("VIAM_NO_MODULE_PARENT").is_ok_and(|value| value == "true");
    let running = Running::start(module, &args.address, Some(logs), alone, stop.clone()).await?;
    let mut signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let lost = tokio::select! {
        _ = signals.0.recv() => None,
        _ = signals.1.recv() => None,
        lost = running.parent_lost() => Some(lost),
        // The one connection that it was started for has ended.
        () = stop.cancelled() => None,
    };
    if let Some(lost) = &lost {
        tracing::error!("{lost}; ending");
    }
    tokio::select! {
        () = running.stop() => {}
        // Whoever asks twice does not want to wait.
        _ = signals.0.recv() => std::process::exit(143),
        _ = signals.1.recv() => std::process::exit(130),
    }
    lost.map_or(Ok(()), |lost| Err(Error::unavailable(lost)))
}

/// Handle of a module that serves in this process, for tests and for programs with a runtime of their own. A module
/// program calls [`run`].
pub struct Running {
    host: Arc<Host>,
    stop: CancellationToken,
    /// Ends calls that outlive their grace.
    abort: CancellationToken,
    served: TaskTracker,
    /// Log sender, stopped last, so that the last entries get through.
    logging: (CancellationToken, TaskTracker),
    lost: tokio::sync::Mutex<mpsc::Receiver<String>>,
}

impl Module {
    /// Serves on an address (the path of a UNIX socket, or `host:port`) until [`Running::stop`]. Parses no command line
    /// and handles no signals; log entries, also those of panics, go to the program's `tracing` subscriber.
    ///
    /// # Errors
    /// UNAVAILABLE if the address cannot be bound; INVALID_ARGUMENT if the registered models contradict each other.
    pub async fn start(self, address: &str) -> Result<Running> {
        Running::start(self, address, None, false, CancellationToken::new()).await
    }
}

impl Running {
    async fn start(
        module: Module,
        address: &str,
        logs: Option<LogSender>,
        alone: bool,
        stop: CancellationToken,
    ) -> Result<Self> {
        if !module.problems.is_empty() {
            return Err(Error::invalid_argument(module.problems.join("; ")));
        }
        log_panics();
        let (connected, connections) = mpsc::unbounded_channel();
        let host = Arc::new(Host::new(&module, (!alone).then_some(connected))?);
        let services = services(&module, &host);
        let address = Address::parse(address);
        let listener: Listener = address
            .listen()
            .await
            .map_err(|error| Error::unavailable(format_args!("cannot listen on {address}: {error}")))?;
        tracing::debug!(%address, "listening");
        let (served, abort) = (TaskTracker::new(), CancellationToken::new());
        let (over, aborted) = (stop.clone(), abort.clone());
        drop(served.spawn(async move {
            services.serve(listener, over.clone(), aborted).await;
            over.cancel();
        }));
        let logging = (CancellationToken::new(), TaskTracker::new());
        let (report, lost) = mpsc::channel(1);
        drop(served.spawn(watch_connections(
            connections,
            logs,
            logging.clone(),
            report,
            stop.clone(),
        )));
        Ok(Self {
            host,
            stop,
            abort,
            served,
            logging,
            lost: tokio::sync::Mutex::new(lost),
        })
    }

    /// Waits until the connection to the core is lost for good, and returns the reason. Never resolves if the module is
    /// stopped first.
    pub async fn parent_lost(&self) -> String {
        match self.lost.lock().await.recv().await {
            Some(lost) => lost,
            None => std::future::pending().await, // The module was stopped.
        }
    }

    /// Stops the module: refuses new calls, closes the resources, dependents first, ends the remaining calls, and sends
    /// the last log entries. Takes at most some 4 s.
    pub async fn stop(&self) {
        self.stop.cancel();
        if tokio::time::timeout(CLOSE, self.host.close()).await.is_err() {
            tracing::warn!("not all resources closed within {CLOSE:?}");
        }
        self.served.close();
        // A stream that nobody ends would go on for ever.
        if tokio::time::timeout(DRAIN, self.served.wait()).await.is_err() {
            self.abort.cancel();
            self.served.wait().await;
        }
        self.logging.0.cancel();
        self.logging.1.close();
        self.logging.1.wait().await;
    }
}

/// Sends logs over the newest connection to a core, and reports its loss.
async fn watch_connections(
    mut connections: mpsc::UnboundedReceiver<Robot>,
    logs: Option<LogSender>,
    (end_of_log, logging): (CancellationToken, TaskTracker),
    report: mpsc::Sender<String>,
    stop: CancellationToken,
) {
    // Before there is a core, there is nobody to tell and nothing that could be gone.
    let Some(Some(first)) = stop.run_until_cancelled(connections.recv()).await else {
        return;
    };
    let (newest, robots) = watch::channel(first);
    if let Some(logs) = logs {
        drop(logging.spawn(logs.run(robots, end_of_log)));
    }
    loop {
        let robot = newest.borrow().clone();
        tokio::select! {
            next = stop.run_until_cancelled(connections.recv()) => match next {
                Some(Some(next)) => drop(newest.send_replace(next)),
                _ => return,
            },
            // Only the newest core counts.
            lost = parent::watch(&robot) => {
                // Full if it was reported already, closed if nobody waits.
                let _ = report.try_send(lost);
                stop.cancelled().await;
                return;
            }
        }
    }
}

fn services(module: &Module, host: &Arc<Host>) -> Services {
    let mut names = vec![SERVICE_NAME];
    names.extend(module.apis.iter().map(|offered| offered.service));
    let descriptors = module
        .apis
        .iter()
        .map(|offered| offered.descriptors)
        .filter(|set| !set.is_empty());
    let reflection = Reflection::new(names, descriptors.collect());
    let own = ModuleServiceServer::from_arc(host.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let services = module.apis.iter().map(|offered| offered.registry.service());
    services
        .chain([Service::new(own)])
        .chain(reflection.services())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_arguments_are_tolerated_and_an_address_is_wanted() {
        let parse = |text: &str| Args::parse(text.split_whitespace().map(str::to_owned));
        for (text, address, level) in [
            ("/m.sock", "/m.sock", Level::INFO),
            ("/m.sock --log-level=debug", "/m.sock", Level::DEBUG),
            ("127.0.0.1:7 --log-level=WARNING --tcp-mode", "127.0.0.1:7", Level::WARN),
            ("/m.sock --builtin=fake --log-level=odd extra", "/m.sock", Level::INFO),
            ("- --builtin=fake", "-", Level::INFO),
        ] {
            assert_eq!(
                parse(text),
                Ok(Args {
                    address: address.into(),
                    level
                }),
                "{text}"
            );
        }
        for text in ["", "--log-level=debug"] {
            assert!(parse(text).unwrap_err().message().contains("first argument"), "{text}");
        }
    }
}
