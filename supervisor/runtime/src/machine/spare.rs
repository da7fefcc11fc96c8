//! A spare instance of a module: started beside the one that runs, with sockets and a data directory of its own, asked what
//! it offers and what it says of config entries, and ended. It builds nothing and does not count as the module.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use mainstay_model::{ModuleSpec, Output, RestartWhen};
use mainstay_process::sockets::Sockets;
use mainstay_proto::{Api, Model};
use mainstay_proxy::upstream::Upstream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::modules::prepare;
use super::setup::Shared;
use crate::change_signal::ChangeSignal;
use crate::module::actor::{Actor, ActorContext, Command, ModuleEvent};
use crate::module::entry::ModuleEntry;
use crate::module::source::ProgramSource;

/// Failure to use a spare instance.
#[derive(Debug, thiserror::Error)]
#[error("a spare instance of it does not start: {cause}")]
pub struct SpareError {
    /// Text of the failure.
    pub cause: Arc<str>,
    /// True if the cause is the host of the moment rather than the entry: no process could be started, or it was too slow.
    pub transient: bool,
}

/// A spare instance that answered Ready.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) upstream: Upstream,
    offers: HashSet<(Api, Model)>,
    place: SpareSlot,
}

/// Folders, sockets and process of a spare instance; gone when this is dropped, ended in order by `leave`.
#[derive(Debug)]
struct SpareSlot {
    commands: mpsc::UnboundedSender<Command>,
    task: JoinSet<()>,
    closed: CancellationToken,
    sockets: Option<Sockets>,
    source: Arc<ProgramSource>,
    data: Option<PathBuf>,
}

impl SpareSlot {
    async fn leave(mut self) {
        let _over = self.commands.send(Command::Want(false));
        // Without anybody who commands it, the task ends what it runs and then itself.
        (self.commands, _) = mpsc::unbounded_channel();
        while self.task.join_next().await.is_some() {}
    }
}

impl Drop for SpareSlot {
    fn drop(&mut self) {
        self.closed.cancel();
        if let Some(sockets) = &self.sockets {
            sockets.remove_directory();
        }
        if let Some(data) = &self.data {
            let _not_made = std::fs::remove_dir_all(data);
        }
        self.source.remove_all();
    }
}

/// Starts a spare instance of `spec` and waits until it is ready.
///
/// # Errors
/// It cannot be started, or never answers; or `give_up` was cancelled meanwhile.
pub(super) async fn start(shared: &Shared, spec: ModuleSpec, give_up: &CancellationToken) -> Result<Spare, SpareError> {
    let name = format!("spare:{}", spec.name);
    let mut spec = ModuleSpec {
        // A colon cannot stand in a configured name.
        name: name.as_str().into(),
        env: [("VIAM_MODULE_NAME".to_owned(), spec.name.to_string())]
            .into_iter()
            .chain(spec.env.clone())
            .collect(),
        // Cleared up with the directory, however this machine ends.
        data: Some(shared.runtime.join("spare-data")),
        ..spec
    };
    spec.policy.restart.when = RestartWhen::Never;
    spec.policy.output = Output::default();
    let entry = Arc::new(ModuleEntry::new(&spec, &shared.home, ChangeSignal::default()));
    let closed = CancellationToken::new();
    let mut place = SpareSlot {
        commands: mpsc::unbounded_channel().0,
        task: JoinSet::new(),
        closed: closed.clone(),
        sockets: Sockets::new(&shared.runtime, &name).ok(),
        source: entry.source.clone(),
        data: spec.data.clone(),
    };
    let context = prepare(shared, &spec, &entry, &closed).map_err(|problem| SpareError {
        cause: problem.into(),
        transient: true,
    })?;
    let (limit, begun) = (
        spec.policy.health.start_timeout.unwrap_or(shared.start_timeout),
        Instant::now(),
    );
    let (events, mut told) = mpsc::unbounded_channel();
    let context = ActorContext { events, ..context };
    let (sender, commands) = mpsc::unbounded_channel();
    place.commands = sender;
    place.task.spawn(Actor::new(spec, context).run(commands));
    let _running = place.commands.send(Command::Want(true));
    let outcome = loop {
        match give_up.run_until_cancelled(told.recv()).await.unwrap_or_default() {
            Some((_, ModuleEvent::Ready { upstream, handlers, .. })) => break Ok((upstream, handlers)),
            Some((_, ModuleEvent::Down { cause, unstarted, .. })) => {
                let transient = unstarted || begun.elapsed() >= limit;
                break Err(SpareError { cause, transient });
            }
            Some((_, ModuleEvent::Starting | ModuleEvent::Silent { .. } | ModuleEvent::Stopped)) => {}
            None => {
                break Err(SpareError {
                    cause: "it was ended before it was ready".into(),
                    transient: true,
                });
            }
        }
    };
    match outcome {
        Ok((upstream, handlers)) => {
            let offers = handlers
                .iter()
                .flat_map(|handler| handler.models.iter().map(|model| (handler.api.clone(), model.clone())));
            Ok(Spare {
                upstream,
                offers: offers.collect(),
                place,
            })
        }
        Err(error) => {
            place.leave().await;
            Err(error)
        }
    }
}

impl Spare {
    /// True if it builds this model.
    pub(super) fn offers(&self, api: &Api, model: &Model) -> bool {
        self.offers.contains(&(api.clone(), model.clone()))
    }

    /// Ends it; returns when nothing of it is left.
    pub(super) async fn end(self) {
        drop(self.upstream);
        self.place.leave().await;
    }
}
