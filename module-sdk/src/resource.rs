//! What every resource is, whatever its API: something that is made from its configuration, answers the calls that
//! all APIs share, and is closed at the end.

use std::{future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;
use serde::de::DeserializeOwned;

use crate::{Config, Dependencies, Error, Object, Result, spatial::Geometry};

/// The calls that all APIs share. Every one has a default, so `impl Resource for MySensor {}` is often all.
///
/// Methods take `&self` and run concurrently. They must not block: a module has one thread, so put blocking work into
/// [`spawn_blocking`](crate::spawn_blocking).
#[async_trait]
pub trait Resource: Send + Sync + 'static {
    /// Commands of the model's own, for what its API has no method for.
    async fn do_command(&self, command: Object) -> Result<Object> {
        let _ = command;
        Err(Error::unimplemented("DoCommand unimplemented"))
    }

    /// What there is to know about the state, for people and dashboards.
    async fn status(&self) -> Result<Object> {
        Ok(Object::new())
    }

    /// The space that it takes up, in its own frame. `None` stands for the `frame.geometry` of the configuration.
    async fn geometries(&self, extra: &Object) -> Result<Option<Vec<Geometry>>> {
        let _ = extra;
        Ok(None)
    }

    /// Lets go of the hardware. Called once; no call begins after it. An actuator should come to rest here.
    async fn close(&self) {}
}

/// How a model is made from its configuration.
pub trait FromConfig: Resource + Sized {
    /// The model's `attributes`. A missing or wrong one fails the resource with its path. Write `()` for none.
    /// Fields of type [`Dependency`](crate::Dependency) declare dependencies by themselves.
    type Attributes: DeserializeOwned + Send + 'static;

    /// Checks what types cannot say, and adds dependencies that no attribute declares. Does no IO: it is asked often,
    /// also for resources that are never made.
    ///
    /// # Errors
    /// What is wrong with the configuration; the resource is not made then.
    fn validate(config: &Config<Self::Attributes>) -> Result<Needs> {
        let _ = config;
        Ok(Needs::none())
    }

    /// Makes the resource. All required dependencies are there. Work that goes on belongs into `config.tasks`.
    ///
    /// # Errors
    /// Why it cannot be made; the core tries again later.
    fn from_config(
        config: Config<Self::Attributes>,
        dependencies: Dependencies,
    ) -> impl Future<Output = Result<Self>> + Send;
}

/// An API as a type: `dyn Sensor`, `dyn Motor`, or the author's own.
pub trait ResourceApi: Send + Sync + 'static {
    /// The triplet, for example `rdk:component:sensor`.
    const API: &'static str;
    /// The gRPC service that carries it, for example `viam.component.sensor.v1.SensorService`.
    const SERVICE: &'static str;
    /// An encoded `google.protobuf.FileDescriptorSet` that holds the service, for APIs of the author's own.
    const DESCRIPTORS: &'static [u8] = &[];

    /// The gRPC service that finds the resources of this API by name.
    fn serve(resources: crate::Resources<Self>) -> crate::Service;

    /// A resource of this API somewhere else on the machine, to be called over the wire.
    ///
    /// # Errors
    /// UNIMPLEMENTED when the API has no client.
    fn client(remote: crate::Remote) -> Result<Arc<Self>> {
        Err(Error::unimplemented(format_args!(
            "there is no client for {}, so `{}` cannot be used",
            Self::API,
            remote.name()
        )))
    }

    /// Brings a resource to rest before it is closed. `None` where nothing moves.
    #[must_use]
    fn halt(resource: Arc<Self>) -> Option<Halting> {
        let _ = resource;
        None
    }
}

/// A stop on its way.
pub type Halting = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Says that a type implements an API: `dyn Sensor` accepts every `R: Sensor`.
///
/// An API of one's own may be a concrete type, which accepts itself, or a trait:
/// `impl<R: Jukebox> Accepts<R> for dyn Jukebox { fn erase(r: Arc<R>) -> Arc<Self> { r } }`.
pub trait Accepts<R>: ResourceApi {
    /// Forgets the concrete type.
    fn erase(resource: Arc<R>) -> Arc<Self>;
}

impl<A: ResourceApi> Accepts<A> for A {
    fn erase(resource: Arc<A>) -> Arc<Self> {
        resource
    }
}

/// The resources that a resource needs before it can be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub(crate) required: Vec<String>,
    pub(crate) optional: Vec<String>,
}

impl Needs {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a resource without which this one cannot be made.
    #[must_use]
    pub fn required<A: ResourceApi + ?Sized>(mut self, name: &str) -> Self {
        self.required.push(full_name::<A>(name));
        self
    }

    /// Adds a resource that is used when it is there; this one is made again when it comes or goes.
    #[must_use]
    pub fn optional<A: ResourceApi + ?Sized>(mut self, name: &str) -> Self {
        self.optional.push(full_name::<A>(name));
        self
    }
}

/// `rdk:component:motor/left`; a name that is full already stays as it is.
pub(crate) fn full_name<A: ResourceApi + ?Sized>(name: &str) -> String {
    if name.contains('/') {
        name.to_owned()
    } else {
        format!("{}/{name}", A::API)
    }
}
