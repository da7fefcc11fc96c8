//! A module's process: arguments, runtime, signals, and the order in which everything ends.

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
    Error, MAX_MESSAGE, Module, Result, Robot, Service,
    address::{Address, Listener},
    logs::{self, LogSender},
    parent,
    reflect::Reflection,
    server::Services,
    service::Host,
};

/// How long running calls may go on after everything they could work with is closed.
const DRAIN: Duration = Duration::from_millis(300);
/// How long all resources together may take to close. The core kills after ten seconds, and says so once before.
const CLOSE: Duration = Duration::from_secs(3);

/// What the core gave on the command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Args {
    /// Where to listen: the path of a UNIX socket, or `127.0.0.1:port`. `-`: standard input is the one connection that is
    /// served, and the process ends with it.
    pub address: String,
    /// How much to log.
    pub level: Level,
}

impl Args {
    /// Reads the arguments after the program's name. What is not known is left to the author.
    ///
    /// # Errors
    /// When there is no address.
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

/// Runs a module until the core or a signal ends it: for `main`.
///
/// Reads the command line, logs to the core, and serves on one thread.
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
    let gone = tokio::select! {
        _ = signals.0.recv() => None,
        _ = signals.1.recv() => None,
        gone = running.gone() => Some(gone),
        // The one connection that it was started for has ended.
        () = stop.cancelled() => None,
    };
    if let Some(gone) = &gone {
        tracing::error!("{gone}; ending");
    }
    tokio::select! {
        () = running.stop() => {}
        // Whoever asks twice does not want to wait.
        _ = signals.0.recv() => std::process::exit(143),
        _ = signals.1.recv() => std::process::exit(130),
    }
    gone.map_or(Ok(()), |gone| Err(Error::unavailable(gone)))
}

/// A module that serves in this process. For tests and for programs with a runtime of their own; a module program
/// calls [`run`].
pub struct Running {
    host: Arc<Host>,
    stop: CancellationToken,
    /// Ends even the calls that would go on.
    abort: CancellationToken,
    served: TaskTracker,
    /// Ends last, so that the last entries get through.
    logging: (CancellationToken, TaskTracker),
    gone: tokio::sync::Mutex<mpsc::Receiver<String>>,
}

impl Module {
    /// Serves on an address until the handle is told to stop. Reads no command line and takes no signals; logs go to
    /// the subscriber of the program.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the models contradict each other.
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
        let (tell, gone) = mpsc::channel(1);
        drop(served.spawn(attend(connections, logs, logging.clone(), tell, stop.clone())));
        Ok(Self {
            host,
            stop,
            abort,
            served,
            logging,
            gone: tokio::sync::Mutex::new(gone),
        })
    }

    /// Waits until the core is gone, and says how that showed.
    pub async fn gone(&self) -> String {
        match self.gone.lock().await.recv().await {
            Some(gone) => gone,
            None => std::future::pending().await, // It was told to stop.
        }
    }

    /// Ends everything: no new calls, then the resources, dependents first, then what still runs, the log last.
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

/// Looks after each connection to a core: its log, and its end.
async fn attend(
    mut connections: mpsc::UnboundedReceiver<Robot>,
    logs: Option<LogSender>,
    (end_of_log, logging): (CancellationToken, TaskTracker),
    tell: mpsc::Sender<String>,
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
            gone = parent::watch(&robot) => {
                // It is told once already, or nobody asks.
                let _ = tell.try_send(gone);
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
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let services = module.apis.iter().map(|offered| offered.shelf.service());
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
