//! A resource as callers meet it: its name, its state, and where its calls go. The machine writes it, everybody reads
//! it.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use mainstay_model::ModuleName;
use mainstay_model::Phase;
use mainstay_proto::{Model, ResourceName};

use crate::image_types::KnownImages;
use crate::status::CallError;
use crate::upstream::Upstream;

/// Relation of a caller to a resource that is about to be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerRole {
    /// Anybody outside.
    Client,
    /// A module; it may hold the resource, and need it to end what it is doing.
    Module,
    /// A caller of Stop.
    Stop,
}

/// A resource that is about to be taken out takes no new calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Start of the removal; calls that were in flight then may go on for a while.
    pub since: Instant,
    /// Modules that hold it are still in the way of its end, and may call it.
    pub held: bool,
    /// Reason for the removal.
    pub cause: Arc<str>,
}

impl Closed {
    /// Whether a new call is refused.
    pub fn refuses(&self, caller: CallerRole) -> bool {
        match caller {
            CallerRole::Client => true,
            CallerRole::Module => !self.held,
            CallerRole::Stop => false,
        }
    }
}

/// The published state of one resource.
#[derive(Debug, Clone)]
pub struct ResourceState {
    /// Phase of its life.
    pub phase: Phase,
    /// Reason why it is not READY, for people.
    pub error: Option<Arc<str>>,
    /// The same in the words that peers know, for callers; where it is not `error`.
    pub wire_error: Option<Arc<str>>,
    /// True if it may come back by itself, because what it lacks is a process rather than a better config.
    pub transient: bool,
    /// Time at which `phase` last changed.
    pub since: SystemTime,
    /// The module it lives in, or would.
    pub module: Option<ModuleName>,
    /// Connection of its module. A resource that waits for a lost dependency keeps this: Stop must get through.
    pub upstream: Option<Upstream>,
    /// Set once it takes no new calls any more.
    pub closed: Option<Closed>,
    /// Dependencies that it was built with.
    pub dependencies: Arc<[ResourceName]>,
    /// Warnings of its module about its entry.
    pub warnings: Arc<[String]>,
    /// The config revision with which it last became READY.
    pub revision: Arc<str>,
}

impl ResourceState {
    /// Reason why it is not READY, in the words that peers know.
    pub fn for_callers(&self) -> Option<&str> {
        self.wire_error.as_deref().or(self.error.as_deref())
    }
}

/// Origin of a resource that another machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Name of the remote.
    pub remote: Arc<str>,
    /// The simple name that the resource has there.
    pub name: Arc<str>,
    /// Other names that it is found by here, where nothing else and no other remote's resource has them.
    pub aliases: Arc<[String]>,
    /// Ids of the machines from the remote to the one that has it, as far as they are told.
    pub machines: Arc<[String]>,
}

/// Resource, as routing sees it.
#[derive(Debug)]
pub struct Resource {
    /// Full name.
    pub name: ResourceName,
    /// Model.
    pub model: Model,
    /// The other machine that has it; `None` for a resource of this one.
    pub origin: Option<Origin>,
    /// Full name as text, for messages.
    pub label: Arc<str>,
    /// Whether its answers need the types of their pictures filled in.
    pub(crate) images: KnownImages,
    state: ArcSwap<ResourceState>,
}

impl Resource {
    /// A resource that nothing was done about yet.
    pub fn new(name: ResourceName, model: Model) -> Self {
        let state = ResourceState {
            phase: Phase::Configuring,
            error: None,
            wire_error: None,
            transient: true,
            since: SystemTime::now(),
            module: None,
            upstream: None,
            closed: None,
            dependencies: Arc::default(),
            warnings: Arc::default(),
            revision: Arc::default(),
        };
        Self {
            label: name.to_string().into(),
            name,
            model,
            origin: None,
            images: KnownImages::default(),
            state: ArcSwap::from_pointee(state),
        }
    }

    /// A resource of another machine, whose model nobody tells.
    pub fn of_remote(name: ResourceName, origin: Origin) -> Self {
        Self {
            origin: Some(origin),
            ..Self::new(name, Model::builtin("remote"))
        }
    }

    /// Current state.
    pub fn state(&self) -> Guard<Arc<ResourceState>> {
        self.state.load()
    }

    /// The refusal of a new call, if the resource is about to be taken out, or its module does not answer.
    pub fn refuses(&self, caller: CallerRole) -> Option<CallError> {
        let state = self.state();
        if let Some(closed) = state.closed.as_ref().filter(|closed| closed.refuses(caller)) {
            return Some(CallError::pending_removal(&self.label, &closed.cause));
        }
        // It is in its module, which does not answer: only what stops something waits for that.
        let silent = state.phase == Phase::Unhealthy && state.upstream.is_some() && caller != CallerRole::Stop;
        silent.then(|| CallError::NotAvailable {
            resource: self.label.clone(),
            reason: state.for_callers().unwrap_or_default().to_owned(),
            transient: true,
        })
    }

    /// Replaces the state; for the machine alone.
    pub fn publish(&self, state: ResourceState) {
        self.state.store(Arc::new(state));
    }
}
