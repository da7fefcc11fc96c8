//! Registry of the resources of this process: by API and name for calls, by full name for the core, which adds and
//! removes them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use mainstay_proto::viam::common::v1::{
    DoCommandRequest, DoCommandResponse, GetGeometriesRequest, GetGeometriesResponse, GetStatusRequest,
    GetStatusResponse,
};

use tokio_util::task::TaskTracker;

use crate::{
    Error, Resource, ResourceApi, Result, Service,
    call::{Label, Scope},
    config::Tasks,
    dependencies::LocalResource,
    resource::StopFuture,
    spatial::Geometry,
    value::wire,
};

/// Resources of API `A` in this process, by name. A gRPC service looks up the resource of each request here.
pub struct Resources<A: ?Sized> {
    by_name: Arc<RwLock<HashMap<String, Entry<A>>>>,
    every_api: EveryApi,
}

/// Resources of all APIs of the process by simple name, for the generic service.
type EveryApi = Arc<RwLock<BTreeMap<String, Vec<Common>>>>;

struct Entry<A: ?Sized> {
    resource: Arc<A>,
    common: Common,
}

/// API-independent part of an entry.
#[derive(Clone)]
struct Common {
    resource: Arc<dyn Resource>,
    label: Arc<Label>,
    geometry: Option<Arc<Geometry>>,
}

impl<A: ?Sized> Clone for Resources<A> {
    fn clone(&self) -> Self {
        Self {
            by_name: self.by_name.clone(),
            every_api: self.every_api.clone(),
        }
    }
}

impl<A: ResourceApi + ?Sized> Resources<A> {
    fn new(every_api: EveryApi) -> Self {
        Self {
            by_name: Arc::default(),
            every_api,
        }
    }

    /// Returns the resource of this simple name. From here on the log entries of the running call carry its name.
    ///
    /// # Errors
    /// NOT_FOUND with the name of the resource.
    pub fn get(&self, name: &str) -> Result<Arc<A>> {
        self.entry(name, |entry| entry.resource.clone())
    }

    /// Handles a `DoCommand` request with [`Resource::do_command`], for services whose proto has that method.
    ///
    /// # Errors
    /// NOT_FOUND if there is no such resource; otherwise the error of the resource.
    pub async fn do_command(&self, request: DoCommandRequest) -> Result<DoCommandResponse> {
        let resource = self.entry(&request.name, |entry| entry.common.resource.clone())?;
        command(&*resource, request).await
    }

    /// Handles a `DoCommand` request with the resource of this name, of another API if this one has none: client programs
    /// send the commands of a custom component to the generic service.
    pub(crate) async fn do_command_of_any(&self, request: DoCommandRequest) -> Result<DoCommandResponse> {
        let resource = self
            .entry(&request.name, |entry| entry.common.resource.clone())
            .or_else(|error| {
                let every_api = self.every_api.read().unwrap_or_else(PoisonError::into_inner);
                match every_api.get(&request.name).map(Vec::as_slice) {
                    Some([only]) => {
                        Scope::mark(&only.label);
                        Ok(only.resource.clone())
                    }
                    _ => Err(error),
                }
            })?;
        command(&*resource, request).await
    }

    /// Handles a `GetStatus` request with [`Resource::status`].
    ///
    /// # Errors
    /// NOT_FOUND if there is no such resource; otherwise the error of the resource.
    pub async fn status(&self, request: GetStatusRequest) -> Result<GetStatusResponse> {
        let resource = self.entry(&request.name, |entry| entry.common.resource.clone())?;
        Ok(GetStatusResponse {
            result: Some(wire::to_struct(resource.status().await?)),
        })
    }

    /// Handles a `GetGeometries` request with [`Resource::geometries`], or with `frame.geometry` of the configuration if
    /// that returns `None`.
    ///
    /// # Errors
    /// NOT_FOUND if there is no such resource; otherwise the error of the resource.
    pub async fn geometries(&self, request: GetGeometriesRequest) -> Result<GetGeometriesResponse> {
        let common = self.entry(&request.name, |entry| entry.common.clone())?;
        let geometries = match common.resource.geometries(&wire::from_struct(request.extra)).await? {
            Some(geometries) => geometries,
            None => common
                .geometry
                .iter()
                .map(|geometry| Geometry::clone(geometry))
                .collect(),
        };
        Ok(GetGeometriesResponse {
            geometries: geometries.into_iter().map(Into::into).collect(),
        })
    }

    fn entry<T>(&self, name: &str, read: impl FnOnce(&Entry<A>) -> T) -> Result<T> {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let entry = by_name
            .get(name)
            .ok_or_else(|| Error::not_found(format_args!("resource {}/{name} not found", A::API)))?;
        Scope::mark(&entry.common.label);
        Ok(read(entry))
    }
}

async fn command(resource: &dyn Resource, request: DoCommandRequest) -> Result<DoCommandResponse> {
    let result = resource.do_command(wire::from_struct(request.command)).await?;
    Ok(DoCommandResponse {
        result: Some(wire::to_struct(result)),
    })
}

/// Type-erased [`Resources`] of one API.
pub(crate) trait ApiRegistry: Send + Sync {
    fn service(&self) -> Service;
    fn insert(&self, name: &str, instance: &Instance) -> Result<()>;
    fn remove(&self, name: &str);
}

impl<A: ResourceApi + ?Sized> ApiRegistry for Resources<A> {
    fn service(&self) -> Service {
        A::serve(self.clone())
    }

    fn insert(&self, name: &str, instance: &Instance) -> Result<()> {
        let api_object = instance.local.api_object.downcast_ref::<Arc<A>>();
        let resource = api_object
            .ok_or_else(|| Error::internal(format_args!("`{name}` was made for another API than {}", A::API)))?
            .clone();
        let common = instance.common();
        let mut every_api = self.every_api.write().unwrap_or_else(PoisonError::into_inner);
        every_api.entry(name.to_owned()).or_default().push(common.clone());
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.insert(name.to_owned(), Entry { resource, common });
        Ok(())
    }

    fn remove(&self, name: &str) {
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let Some(removed) = by_name.remove(name) else { return };
        let mut every_api = self.every_api.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(named) = every_api.get_mut(name) {
            named.retain(|common| !Arc::ptr_eq(&common.label, &removed.common.label));
            if named.is_empty() {
                every_api.remove(name);
            }
        }
    }
}

/// Running resource with what the SDK keeps beside it.
pub(crate) struct Instance {
    pub resource: Arc<dyn Resource>,
    pub local: LocalResource,
    pub label: Arc<Label>,
    pub geometry: Option<Geometry>,
    pub tasks: Tasks,
    /// Stops the resource before it is closed; returns `None` if its API moves nothing.
    pub halt: Box<dyn Fn() -> Option<StopFuture> + Send + Sync>,
}

impl Instance {
    fn common(&self) -> Common {
        let (resource, label) = (self.resource.clone(), self.label.clone());
        Common {
            resource,
            label,
            geometry: self.geometry.clone().map(Arc::new),
        }
    }

    /// Closes the resource: stops its motion, ends its tasks, then calls [`Resource::close`]. The future must be driven
    /// to its end even if the caller stops waiting.
    async fn close(self) {
        let Self {
            resource,
            label,
            tasks,
            halt,
            ..
        } = self;
        let work = async move {
            if let Some(stop) = halt()
                && let Err(error) = stop.await
            {
                tracing::warn!(%error, "did not stop before it was closed");
            }
            tasks.end().await;
            resource.close().await;
        };
        // A driver that panics here must not take the rest of the module along.
        let work = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(work));
        if Scope::of_resource(label.clone()).run(work).await.is_err() {
            tracing::error!(resource = label.name, "panicked while it was closed");
        }
    }
}

/// All resources of the process by full name, with the order in which they were added.
#[derive(Default)]
pub(crate) struct Registry {
    slots: RwLock<HashMap<String, ResourceSlot>>,
    every_api: EveryApi,
    closing: TaskTracker,
}

/// Registration of one resource.
struct ResourceSlot {
    api: Arc<dyn ApiRegistry>,
    name: String,
    added: Instant,
    /// `None` while the resource is being built.
    instance: Option<Box<Instance>>,
}

impl Registry {
    /// Creates the registry of one API.
    pub(crate) fn resources<A: ResourceApi + ?Sized>(&self) -> Resources<A> {
        Resources::new(self.every_api.clone())
    }

    /// Reserves a full name for a resource that is about to be built. Dropping the reservation frees the name.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        full_name: String,
        name: &str,
        api: Arc<dyn ApiRegistry>,
    ) -> Result<Reservation> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if slots.contains_key(&full_name) {
            let text = format_args!("resource {full_name} already exists; remove it first");
            return Err(Error::new(crate::Code::AlreadyExists, text));
        }
        slots.insert(
            full_name.clone(),
            ResourceSlot {
                api,
                name: name.to_owned(),
                added: Instant::now(),
                instance: None,
            },
        );
        Ok(Reservation {
            registry: self.clone(),
            full_name,
            filled: false,
        })
    }

    /// Returns a resource of this process by its full name.
    pub(crate) fn local(&self, full_name: &str) -> Option<LocalResource> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let instance = slots.get(full_name)?.instance.as_ref();
        instance.map(|instance| instance.local.clone())
    }

    /// Removes a resource, so that no further call reaches it. Returns `None` if there is none or it is still being built.
    pub(crate) fn remove(&self, full_name: &str) -> Option<Instance> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.get(full_name)?.instance.as_ref()?;
        let slot = slots.remove(full_name)?;
        slot.api.remove(&slot.name);
        slot.instance.map(|instance| *instance)
    }

    /// Closes a resource that was removed. Closing goes on to its end even if the caller stops waiting.
    pub(crate) async fn close(&self, instance: Instance) {
        // Fails only when the runtime ends.
        let _ = self.closing.spawn(instance.close()).await;
    }

    /// Waits until the resources whose callers stopped waiting are closed, too.
    pub(crate) async fn closed(&self) {
        self.closing.close();
        self.closing.wait().await;
    }

    /// Removes all resources and returns them in reverse order of addition: a dependent is added after its dependencies.
    pub(crate) fn remove_all(&self) -> Vec<Instance> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<ResourceSlot> = slots.drain().map(|(_, slot)| slot).collect();
        all.sort_by_key(|slot| std::cmp::Reverse(slot.added));
        let removed = all.into_iter().filter_map(|slot| {
            slot.api.remove(&slot.name);
            slot.instance.map(|instance| *instance)
        });
        removed.collect()
    }
}

/// Full name that is reserved for a resource while it is being built.
pub(crate) struct Reservation {
    registry: Arc<Registry>,
    full_name: String,
    filled: bool,
}

impl Reservation {
    /// Registers the finished resource, so that calls reach it. Returns it with an error if the module closed meanwhile.
    pub(crate) fn fill(mut self, instance: Box<Instance>) -> Result<(), (Box<Instance>, Error)> {
        let mut slots = self.registry.slots.write().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = slots.get_mut(&self.full_name) else {
            return Err((instance, Error::unavailable("the module is stopping")));
        };
        if let Err(error) = slot.api.insert(&slot.name, &instance) {
            return Err((instance, error));
        }
        // Resources built later may depend on this one, those built earlier cannot.
        slot.added = Instant::now();
        slot.instance = Some(instance);
        drop(slots);
        self.filled = true;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.filled {
            self.registry
                .slots
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&self.full_name);
        }
    }
}
