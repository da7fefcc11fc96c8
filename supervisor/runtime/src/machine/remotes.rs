//! Remotes of a running machine: they come, change and go with the config, and their resources with the connection.

use std::sync::Arc;

use mainstay_core::machine::node::ModuleCondition;
use mainstay_model::event::NoteKind;
use mainstay_model::{ModuleName, Remote};
use mainstay_proxy::resource::{Origin, Resource};
use mainstay_proxy::table::Contested;
use mainstay_proxy::upstream::Upstream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use super::actor::Machine;
use crate::remote::{self, RemoteApi, RemoteEntry, RemoteEvent, RemoteEvents};

/// A remote as the machine sees it.
#[derive(Debug)]
pub(super) struct RunningRemote {
    pub(super) entry: Arc<RemoteEntry>,
    pub(super) upstream: Option<Upstream>,
    pub(super) apis: Arc<[RemoteApi]>,
    /// Number of its task.
    task: u64,
    /// Ends the task when this is dropped.
    _until: DropGuard,
}

impl Machine {
    /// Begins to connect to a remote, in place of one of its name.
    pub(super) fn start_remote(&mut self, remote: &Remote) {
        let name = ModuleName::remote(&remote.name);
        self.end_remote(&remote.name);
        self.course.remote_tasks += 1;
        let events = RemoteEvents {
            name: name.clone(),
            task: self.course.remote_tasks,
            sender: self.handle.shared.remote_events.clone(),
        };
        self.world.add_remote(name.clone(), remote::first_cause(remote));
        let stop = CancellationToken::new();
        let task = remote::run(remote.clone(), self.handle.shared.id.clone(), events);
        while self.tasks.remotes.try_join_next().is_some() {}
        let until = stop.clone();
        self.tasks.remotes.spawn(async move {
            let _ended = until.run_until_cancelled(task).await;
        });
        let running = RunningRemote {
            entry: Arc::new(RemoteEntry::new(remote)),
            upstream: None,
            apis: Arc::default(),
            task: self.course.remote_tasks,
            _until: stop.drop_guard(),
        };
        self.remotes.insert(name, running);
    }

    /// Ends the connection to a remote, and with it all that it has here.
    pub(super) fn end_remote(&mut self, name: &str) {
        let name = ModuleName::remote(name);
        if self.remotes.remove(&name).is_some() {
            self.world.remove_remote(&name);
        }
    }

    pub(super) fn remote_event(&mut self, name: &ModuleName, task: u64, event: RemoteEvent) {
        let Some(running) = self.remotes.get_mut(name).filter(|running| running.task == task) else {
            return;
        };
        let changes = &self.handle.published.changes;
        let note = |text: String| changes.note(NoteKind::Remote, text, Vec::new(), None);
        match event {
            RemoteEvent::Connected {
                upstream,
                imports,
                apis,
                left_out,
            } => {
                let count = imports.len();
                running.upstream = Some(upstream);
                running.apis = apis;
                note(format!("remote {} connected: {count} resources", running.entry.name));
                warn_of(&running.entry.name, &left_out);
                running.entry.publish(None, count, left_out.into());
                self.world.import(name, imports, true);
            }
            RemoteEvent::Listed {
                imports,
                apis,
                left_out,
            } => {
                running.apis = apis;
                warn_of(&running.entry.name, &left_out);
                running.entry.publish(None, imports.len(), left_out.into());
                self.world.import(name, imports, false);
            }
            RemoteEvent::Down { cause } => {
                let was_connected = running.upstream.take().is_some();
                running.entry.publish(Some(cause.clone()), 0, Arc::default());
                if was_connected {
                    note(format!("remote {} lost: {cause}", running.entry.name));
                }
                self.world
                    .module_changed(name, ModuleCondition::Down(cause.clone()), None);
                // New calls are refused before those in flight end. Those hold the connection, and may wait for ever.
                self.take_steps();
                self.handle.shared.operations.cut_module(name, &cause);
                self.handle.published.changes.notify();
            }
        }
    }

    /// Makes the published resources those that the world imports, if that has changed. True if it did.
    pub(super) fn sync_imports(&mut self) -> bool {
        let version = self.world.imports_version();
        if self.course.imports.0 == version {
            return false;
        }
        self.course.imports = (version, self.world.imports().count());
        for (remote, import) in self.world.imports() {
            let origin = Origin {
                remote: remote.remote_name().unwrap_or_default().into(),
                name: import.own.clone(),
                aliases: import.aliases.clone(),
                machines: import.machines.clone(),
            };
            let known = self.resources.cells.get(&import.name);
            if known.is_none_or(|known| known.origin.as_ref() != Some(&origin)) {
                let resource = Arc::new(Resource::of_remote(import.name.clone(), origin));
                self.resources.cells.insert(import.name.clone(), resource);
            }
        }
        let contested: Arc<[Contested]> = self.world.contested().map(contest).collect();
        for contested in contested
            .iter()
            .filter(|contested| !self.resources.contested.contains(contested))
        {
            warn!(
                resource = %contested.name,
                "remotes {} all have it: nobody's is used; give one of them a `prefix` of its own",
                contested.remotes.join(" and ")
            );
        }
        self.resources.contested = contested;
        true
    }
}

fn contest((name, remotes): (&mainstay_proto::ResourceName, &[ModuleName])) -> Contested {
    let remotes = remotes
        .iter()
        .filter_map(|remote| remote.remote_name().map(str::to_owned));
    Contested {
        name: name.clone(),
        remotes: remotes.collect(),
    }
}

fn warn_of(remote: &str, left_out: &[String]) {
    for text in left_out {
        warn!(remote, "{text}");
    }
}
