//! Traits of resources and APIs: construction from a configuration, the methods that all APIs share, and the contract of
//! an API.

use std::{future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;
use serde::de::DeserializeOwned;

use crate::{Config, Dependencies, Error, Object, Result, spatial::Geometry};

/// Methods that all APIs share. Each has a default, so `impl Resource for MySensor {}` is often enough.
///
/// Methods take `&self` and run concurrently. They must not block the module's one thread: run blocking code with
/// [`spawn_blocking`](crate::spawn_blocking).
///
/// All of them, as you write them:
///
/// ```
/// use mainstay_module::{prelude::*, spatial::{Geometry, Pose, Shape, Vector3}};
/// # struct Arm;
///
/// #[async_trait]
/// impl Resource for Arm {
///     async fn do_command(&self, command: Object) -> Result<Object> {
///         match command.get("gripper").and_then(Value::as_str) {
///             Some("open" | "closed") => Ok(object! { "done" => true }),
///             _ => Err(Error::invalid_argument("`gripper` is `open` or `closed`")),
///         }
///     }
///     async fn status(&self) -> Result<Object> {
///         Ok(object! { "volts" => 24.1 })
///     }
///     async fn geometries(&self, extra: &Object) -> Result<Option<Vec<Geometry>>> {
///         let center = Pose { position: Vector3 { x: 0.0, y: 0.0, z: 50.0 }, ..Pose::default() };
///         let shape = Shape::Sphere { radius_mm: 50.0 };
///         Ok(Some(vec![Geometry { center, shape, label: "hand".into() }]))
///     }
///     async fn close(&self) {
///         // Release the bus.
///     }
/// }
/// ```
#[async_trait]
pub trait Resource: Send + Sync + 'static {
    /// Runs a custom command, for functions that the API has no method for (gRPC `DoCommand`). The shapes of command and
    /// result are the model's choice.
    ///
    /// # Errors
    /// UNIMPLEMENTED by default.
    async fn do_command(&self, command: Object) -> Result<Object> {
        let _ = command;
        Err(Error::unimplemented("DoCommand unimplemented"))
    }

    /// Returns the state of the resource, for people and dashboards (gRPC `GetStatus`). Empty by default.
    ///
    /// # Errors
    /// Passed on to the caller.
    async fn status(&self) -> Result<Object> {
        Ok(Object::new())
    }

    /// Returns the solids that the resource occupies, in its own frame (gRPC `GetGeometries`). `None`, the default, stands
    /// for `frame.geometry` of the configuration.
    ///
    /// # Errors
    /// Passed on to the caller.
    async fn geometries(&self, extra: &Object) -> Result<Option<Vec<Geometry>>> {
        let _ = extra;
        Ok(None)
    }

    /// Releases the hardware. Called once, when the resource is removed; no call begins after it. Actuators should stop
    /// here.
    async fn close(&self) {}
}

/// Constructor of a model: builds a resource from its configuration.
///
/// ```
/// use mainstay_module::prelude::*;
///
/// #[derive(Deserialize)]
/// struct Attributes {
///     wheel_mm: f64,
///     #[serde(default)]
///     inverted: bool,
/// }
///
/// struct Wheel {
///     millimetres: f64,
/// }
/// # impl Resource for Wheel {}
///
/// impl FromConfig for Wheel {
///     type Attributes = Attributes;
///
///     // Left out if the types say it all.
///     fn validate(config: &Config<Attributes>) -> Result<DependencySpec> {
///         match config.attributes.wheel_mm {
///             mm if mm > 0.0 => Ok(DependencySpec::none()),
///             mm => Err(Error::invalid_argument(format_args!("`wheel_mm` is {mm}; it must be above 0"))),
///         }
///     }
///
///     async fn from_config(config: Config<Attributes>, dependencies: Dependencies) -> Result<Self> {
///         let Attributes { wheel_mm, inverted } = config.attributes;
///         Ok(Self { millimetres: if inverted { -wheel_mm } else { wheel_mm } })
///     }
/// }
/// ```
pub trait FromConfig: Resource + Sized {
    /// Type that the configured `attributes` are deserialized into; `()` for none. A missing or ill-typed attribute fails
    /// the resource with INVALID_ARGUMENT and the attribute's path. Integer fields accept `4.0`, names match in any
    /// case, and `null` counts as absent. Fields of type [`Dependency`](crate::Dependency) declare dependencies.
    ///
    /// An attribute that no field takes is warned about in the log, with the nearest field. A type that takes any name
    /// is not: a map, a struct with `#[serde(flatten)]`, an enum.
    type Attributes: DeserializeOwned + Send + 'static;

    /// Validates a configuration beyond its types, and returns the dependencies that no attribute declares. Must do no IO:
    /// it is called often, also for resources that are never built.
    ///
    /// # Errors
    /// The reason why the configuration is invalid, mostly INVALID_ARGUMENT; the resource is not built then.
    fn validate(config: &Config<Self::Attributes>) -> Result<DependencySpec> {
        let _ = config;
        Ok(DependencySpec::none())
    }

    /// Builds the resource. All required dependencies are in `dependencies`. Background work belongs into
    /// `config.tasks`.
    ///
    /// # Errors
    /// The reason of the failure; the core shows it in the machine's status and retries later.
    fn from_config(
        config: Config<Self::Attributes>,
        dependencies: Dependencies,
    ) -> impl Future<Output = Result<Self>> + Send;
}

/// API as a type, with its gRPC service and client: `dyn Sensor`, `dyn Motor`, or a custom one.
pub trait ResourceApi: Send + Sync + 'static {
    /// Name of the API as `namespace:type:subtype`, for example `rdk:component:sensor`.
    const API: &'static str;
    /// Full name of its gRPC service, for example `viam.component.sensor.v1.SensorService`.
    const SERVICE: &'static str;
    /// Encoded `google.protobuf.FileDescriptorSet` that contains the service. Required for custom APIs, which clients
    /// learn by gRPC reflection; empty for the APIs of this crate.
    const DESCRIPTORS: &'static [u8] = &[];

    /// Creates the gRPC service, which looks up the resource of each request in `resources`.
    fn serve(resources: crate::Resources<Self>) -> crate::Service;

    /// Creates a gRPC client for a resource of this API that runs in another process.
    ///
    /// # Errors
    /// UNIMPLEMENTED, the default, if the API has no client.
    fn client(channel: crate::ResourceChannel) -> Result<Arc<Self>> {
        Err(Error::unimplemented(format_args!(
            "there is no client for {}, so `{}` cannot be used",
            Self::API,
            channel.name()
        )))
    }

    /// Returns a future that stops the resource's motion before it is closed; `None`, the default, for APIs that move
    /// nothing.
    #[must_use]
    fn halt(resource: Arc<Self>) -> Option<StopFuture> {
        let _ = resource;
        None
    }
}

/// Future of a stop, returned by [`ResourceApi::halt`]. Resolves when the resource has stopped.
pub type StopFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Marker of an API that type `R` implements: `dyn Sensor: Implements<R>` holds for every `R: Sensor`.
///
/// A custom API may be a concrete type, which implements itself, or a trait:
/// `impl<R: Jukebox> Implements<R> for dyn Jukebox { fn erase(r: Arc<R>) -> Arc<Self> { r } }`.
pub trait Implements<R>: ResourceApi {
    /// Converts a resource to the API's type.
    fn erase(resource: Arc<R>) -> Arc<Self>;
}

impl<A: ResourceApi> Implements<A> for A {
    fn erase(resource: Arc<A>) -> Arc<Self> {
        resource
    }
}

/// Dependencies of a resource by name, returned by [`FromConfig::validate`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DependencySpec {
    pub(crate) required: Vec<String>,
    pub(crate) optional: Vec<String>,
}

impl DependencySpec {
    /// Creates an empty specification.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a required dependency of API `A`: the resource is built once this one is ready. `name` is a simple name (`left`)
    /// or a full one (`rdk:component:motor/left`).
    #[must_use]
    pub fn required<A: ResourceApi + ?Sized>(mut self, name: &str) -> Self {
        self.required.push(full_name::<A>(name));
        self
    }

    /// Adds an optional dependency of API `A`: the resource is built without it if necessary, and rebuilt when it appears
    /// or disappears.
    #[must_use]
    pub fn optional<A: ResourceApi + ?Sized>(mut self, name: &str) -> Self {
        self.optional.push(full_name::<A>(name));
        self
    }
}

/// Returns the full name, such as `rdk:component:motor/left`. A name that contains `/` is returned unchanged.
pub(crate) fn full_name<A: ResourceApi + ?Sized>(name: &str) -> String {
    if name.contains('/') {
        name.to_owned()
    } else {
        format!("{}/{name}", A::API)
    }
}
