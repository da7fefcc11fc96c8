//! The resources of this process: by API and name for the calls, by full name for the core that adds and removes them.

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
    dependencies::Local,
    resource::Halting,
    spatial::Geometry,
    value::wire,
};

/// The resources of one API in this process, by name. A gRPC service asks here which resource a request is for.
pub struct Resources<A: ?Sized> {
    by_name: Arc<RwLock<HashMap<String, Entry<A>>>>,
    everything: Everything,
}

/// All resources of the process by their simple names, for the generic service.
type Everything = Arc<RwLock<BTreeMap<String, Vec<Common>>>>;

struct Entry<A: ?Sized> {
    resource: Arc<A>,
    common: Common,
}

/// What is the same for every API.
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
            everything: self.everything.clone(),
        }
    }
}

impl<A: ResourceApi + ?Sized> Resources<A> {
    fn new(everything: Everything) -> Self {
        Self {
            by_name: Arc::default(),
            everything,
        }
    }

    /// The resource of this name. The running call belongs to it from now on: its log entries carry its name.
    ///
    /// # Errors
    /// NOT_FOUND, naming it.
    pub fn get(&self, name: &str) -> Result<Arc<A>> {
        self.entry(name, |entry| entry.resource.clone())
    }

    /// Answers `DoCommand`, for services whose proto has it.
    ///
    /// # Errors
    /// NOT_FOUND, or what the resource says.
    pub async fn do_command(&self, request: DoCommandRequest) -> Result<DoCommandResponse> {
        let resource = self.entry(&request.name, |entry| entry.common.resource.clone())?;
        command(&*resource, request).await
    }

    /// The same for any resource of this name when no resource of this API has it: client programs send the commands
    /// of a custom component to the generic service.
    pub(crate) async fn do_command_of_any(&self, request: DoCommandRequest) -> Result<DoCommandResponse> {
        let resource = self
            .entry(&request.name, |entry| entry.common.resource.clone())
            .or_else(|error| {
                let everything = self.everything.read().unwrap_or_else(PoisonError::into_inner);
                match everything.get(&request.name).map(Vec::as_slice) {
                    Some([only]) => {
                        Scope::mark(&only.label);
                        Ok(only.resource.clone())
                    }
                    _ => Err(error),
                }
            })?;
        command(&*resource, request).await
    }

    /// Answers `GetStatus`.
    ///
    /// # Errors
    /// NOT_FOUND, or what the resource says.
    pub async fn status(&self, request: GetStatusRequest) -> Result<GetStatusResponse> {
        let resource = self.entry(&request.name, |entry| entry.common.resource.clone())?;
        Ok(GetStatusResponse {
            result: Some(wire::to_struct(resource.status().await?)),
        })
    }

    /// Answers `GetGeometries`: what the resource says, or else what its configuration says.
    ///
    /// # Errors
    /// NOT_FOUND, or what the resource says.
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

/// The resources of one API, for those who do not know which.
pub(crate) trait Shelf: Send + Sync {
    fn service(&self) -> Service;
    fn put(&self, name: &str, made: &Made) -> Result<()>;
    fn take(&self, name: &str);
}

impl<A: ResourceApi + ?Sized> Shelf for Resources<A> {
    fn service(&self) -> Service {
        A::serve(self.clone())
    }

    fn put(&self, name: &str, made: &Made) -> Result<()> {
        let face = made.local.face.downcast_ref::<Arc<A>>();
        let resource = face
            .ok_or_else(|| Error::internal(format_args!("`{name}` was made for another API than {}", A::API)))?
            .clone();
        let common = made.common();
        let mut everything = self.everything.write().unwrap_or_else(PoisonError::into_inner);
        everything.entry(name.to_owned()).or_default().push(common.clone());
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.insert(name.to_owned(), Entry { resource, common });
        Ok(())
    }

    fn take(&self, name: &str) {
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let Some(taken) = by_name.remove(name) else { return };
        let mut everything = self.everything.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(named) = everything.get_mut(name) {
            named.retain(|common| !Arc::ptr_eq(&common.label, &taken.common.label));
            if named.is_empty() {
                everything.remove(name);
            }
        }
    }
}

/// A resource that was just made.
pub(crate) struct Made {
    pub resource: Arc<dyn Resource>,
    pub local: Local,
    pub label: Arc<Label>,
    pub geometry: Option<Geometry>,
    pub tasks: Tasks,
    /// Brings it to rest before it is closed, when its API is one that moves things.
    pub halt: Box<dyn Fn() -> Option<Halting> + Send + Sync>,
}

impl Made {
    fn common(&self) -> Common {
        let (resource, label) = (self.resource.clone(), self.label.clone());
        Common {
            resource,
            label,
            geometry: self.geometry.clone().map(Arc::new),
        }
    }

    /// Ends it: first its motion, then its tasks, then itself. To be driven to the end whoever gives up waiting.
    async fn close(self) {
        let Self {
            resource,
            label,
            tasks,
            halt,
            ..
        } = self;
        let work = async move {
            if let Some(halting) = halt()
                && let Err(error) = halting.await
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

/// Every resource by its full name, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Registry {
    held: RwLock<HashMap<String, Held>>,
    everything: Everything,
    closing: TaskTracker,
}

struct Held {
    shelf: Arc<dyn Shelf>,
    name: String,
    added: Instant,
    /// None while it is being made.
    made: Option<Box<Made>>,
}

impl Registry {
    /// A shelf for one API.
    pub(crate) fn shelf<A: ResourceApi + ?Sized>(&self) -> Resources<A> {
        Resources::new(self.everything.clone())
    }

    /// Keeps a full name for a resource that is about to be made; the name is free again when the place is dropped.
    pub(crate) fn reserve(self: &Arc<Self>, full_name: String, name: &str, shelf: Arc<dyn Shelf>) -> Result<Place> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.contains_key(&full_name) {
            let text = format_args!("resource {full_name} already exists; remove it first");
            return Err(Error::new(crate::Code::AlreadyExists, text));
        }
        held.insert(
            full_name.clone(),
            Held {
                shelf,
                name: name.to_owned(),
                added: Instant::now(),
                made: None,
            },
        );
        Ok(Place {
            registry: self.clone(),
            full_name,
            filled: false,
        })
    }

    /// A resource as those in the same process find it.
    pub(crate) fn local(&self, full_name: &str) -> Option<Local> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.get(full_name)?.made.as_ref().map(|made| made.local.clone())
    }

    /// Takes a resource out: no call reaches it any more. `None` when there is none, or it is still being made.
    pub(crate) fn take(&self, full_name: &str) -> Option<Made> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.get(full_name)?.made.as_ref()?;
        let taken = held.remove(full_name)?;
        taken.shelf.take(&taken.name);
        taken.made.map(|made| *made)
    }

    /// Closes a resource that was taken out. It is closed to the end even when the caller stops waiting.
    pub(crate) async fn close(&self, made: Made) {
        // Fails only when the runtime ends.
        let _ = self.closing.spawn(made.close()).await;
    }

    /// Waits for what is closing on behalf of callers that stopped waiting.
    pub(crate) async fn closed(&self) {
        self.closing.close();
        self.closing.wait().await;
    }

    /// Takes everything out, what was added last first: a dependent always comes after what it uses.
    pub(crate) fn take_all(&self) -> Vec<Made> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Held> = held.drain().map(|(_, held)| held).collect();
        all.sort_by_key(|held| std::cmp::Reverse(held.added));
        let taken = all.into_iter().filter_map(|held| {
            held.shelf.take(&held.name);
            held.made.map(|made| *made)
        });
        taken.collect()
    }
}

/// A name that is kept for a resource in the making.
pub(crate) struct Place {
    registry: Arc<Registry>,
    full_name: String,
    filled: bool,
}

impl Place {
    /// Puts the resource into its place: calls reach it from now on. Gives it back when the module closed meanwhile.
    pub(crate) fn fill(mut self, made: Box<Made>) -> Result<(), (Box<Made>, Error)> {
        let mut held = self.registry.held.write().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = held.get_mut(&self.full_name) else {
            return Err((made, Error::unavailable("the module is stopping")));
        };
        if let Err(error) = place.shelf.put(&place.name, &made) {
            return Err((made, error));
        }
        // What is made later may use it, what was made earlier may not.
        place.added = Instant::now();
        place.made = Some(made);
        drop(held);
        self.filled = true;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.filled {
            self.registry
                .held
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&self.full_name);
        }
    }
}
