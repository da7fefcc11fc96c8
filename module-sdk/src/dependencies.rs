//! Dependencies of a resource: declared by attributes or by `validate`, looked up by API and name.

use std::{
    any::Any,
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    marker::PhantomData,
    sync::{Arc, Weak},
};

use serde::{Deserialize, Deserializer};

use crate::{
    DependencySpec, Error, Implements, Resource, ResourceApi, Result, Robot, registry::Registry, resource::full_name,
};

thread_local! {
    /// Dependencies declared by the attributes that are being deserialized. Deserializing never awaits, so no other
    /// resource gets in between.
    static DECLARED: RefCell<DependencySpec> = RefCell::default();
}

/// Runs `read` and returns its result with the dependencies that it declared.
pub(crate) fn collect<T>(read: impl FnOnce() -> T) -> (T, DependencySpec) {
    DECLARED.take();
    let value = read();
    (value, DECLARED.take())
}

/// Attribute that names a required resource of API `A`. Being a field of the attributes declares the dependency. Use
/// `Option<Dependency<A>>` for an attribute that may be absent, and [`OptionalDependency`] for a resource that may be.
pub struct Dependency<A: ?Sized> {
    name: String,
    api: PhantomData<fn() -> Box<A>>,
}

/// Attribute that names an optional resource of API `A`. The dependent is rebuilt when that resource appears or
/// disappears.
pub struct OptionalDependency<A: ?Sized>(Dependency<A>);

impl<A: ResourceApi + ?Sized> Dependency<A> {
    /// Creates a dependency by hand, for tests.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            api: PhantomData,
        }
    }

    /// Returns the name as configured, simple or full.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Looks up the resource in the `dependencies` passed to [`FromConfig::from_config`](crate::FromConfig::from_config).
    ///
    /// # Errors
    /// See [`Dependencies::get`].
    pub fn resolve(&self, dependencies: &Dependencies) -> Result<Arc<A>> {
        dependencies.get(&self.name)
    }
}

impl<A: ResourceApi + ?Sized> OptionalDependency<A> {
    /// Returns the name as configured, simple or full.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Looks up the resource; `None` if it is not available.
    #[must_use]
    pub fn resolve(&self, dependencies: &Dependencies) -> Option<Arc<A>> {
        self.0.resolve(dependencies).ok()
    }
}

impl<'de, A: ResourceApi + ?Sized> Deserialize<'de> for Dependency<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = name(deserializer)?;
        DECLARED.with_borrow_mut(|spec| spec.required.push(full_name::<A>(&name)));
        Ok(Self { name, api: PhantomData })
    }
}

impl<'de, A: ResourceApi + ?Sized> Deserialize<'de> for OptionalDependency<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = name(deserializer)?;
        DECLARED.with_borrow_mut(|spec| spec.optional.push(full_name::<A>(&name)));
        Ok(Self(Dependency { name, api: PhantomData }))
    }
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name.is_empty() {
        Err(serde::de::Error::custom("the name of a resource is empty"))
    } else {
        Ok(name)
    }
}

impl<A: ?Sized> fmt::Debug for Dependency<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dependency({})", self.name)
    }
}

impl<A: ?Sized> fmt::Debug for OptionalDependency<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OptionalDependency({})", self.0.name)
    }
}

/// Handle of another resource of the same module, as the author's own type `R` instead of an API. The core may replace
/// that resource without rebuilding its dependents (after a change of its `frame`, for example), so call
/// [`get`](Self::get) at each use and do not keep its result.
pub struct LocalDependency<R> {
    location: Location,
    resource: PhantomData<fn() -> R>,
}

impl<R: Resource> LocalDependency<R> {
    /// Returns the current resource.
    ///
    /// # Errors
    /// UNAVAILABLE while there is none, or if the current one has another type.
    pub fn get(&self) -> Result<Arc<R>> {
        let gone = |name: &str| Error::unavailable(format_args!("`{name}` is not there at the moment"));
        match &self.location {
            Location::Fixed(local) => local.concrete.clone().downcast().map_err(|_| gone("it")),
            Location::SameModule(registry, name) => {
                let local = registry.upgrade().and_then(|registry| registry.local(name));
                let resource = local.and_then(|local| local.concrete.downcast().ok());
                resource.ok_or_else(|| gone(name))
            }
            Location::OtherProcess(name) => Err(gone(name)),
        }
    }
}

impl<R> fmt::Debug for LocalDependency<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Location::Fixed(_) => f.write_str("LocalDependency"),
            Location::SameModule(_, name) | Location::OtherProcess(name) => write!(f, "LocalDependency({name})"),
        }
    }
}

/// Location of a dependency.
#[derive(Clone)]
enum Location {
    /// Added by [`Dependencies::with`].
    Fixed(LocalResource),
    /// Full name in this module's registry. Weak, because the registry owns the resource that holds this.
    SameModule(Weak<Registry>, String),
    /// Full name of a resource in another process.
    OtherProcess(String),
}

/// Resource of this process, as its API's type and as the author's.
#[derive(Clone)]
pub(crate) struct LocalResource {
    /// `Arc<A>` of its API `A`.
    pub api_object: Arc<dyn Any + Send + Sync>,
    /// `R`, the author's type.
    pub concrete: Arc<dyn Any + Send + Sync>,
}

/// Dependencies that the core passed to one resource.
#[derive(Clone, Default)]
pub struct Dependencies {
    /// Locations by full name.
    given: BTreeMap<String, Location>,
    robot: Option<Robot>,
}

impl Dependencies {
    /// Creates an empty set, for tests.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a resource of API `A` by hand, for tests.
    #[must_use]
    pub fn with<A: Implements<R> + ?Sized, R: Resource>(self, name: &str, resource: Arc<R>) -> Self {
        let local = LocalResource {
            api_object: Arc::new(A::erase(resource.clone())),
            concrete: resource,
        };
        self.insert(full_name::<A>(name), Location::Fixed(local))
    }

    pub(crate) fn through(robot: Option<Robot>) -> Self {
        Self {
            given: BTreeMap::new(),
            robot,
        }
    }

    /// Adds a dependency by its full name. It is local if `registry` contains it.
    pub(crate) fn named(self, full_name: String, registry: &Arc<Registry>) -> Self {
        let location = match registry.local(&full_name) {
            Some(_) => Location::SameModule(Arc::downgrade(registry), full_name.clone()),
            None => Location::OtherProcess(full_name.clone()),
        };
        self.insert(full_name, location)
    }

    fn insert(mut self, full_name: String, location: Location) -> Self {
        self.given.insert(full_name, location);
        self
    }

    /// Returns the dependency of API `A` with this name, simple or full. Calls to it go through the core even if it runs in
    /// the same module, so the returned value stays valid when the core replaces the resource.
    ///
    /// # Errors
    /// NOT_FOUND if the core did not pass such a dependency; the text lists those it passed. UNIMPLEMENTED if the API has
    /// no client; use [`local`](Self::local) for a resource of the same module. UNAVAILABLE without a core.
    pub fn get<A: ResourceApi + ?Sized>(&self, name: &str) -> Result<Arc<A>> {
        let (full, location) = self.find::<A>(name)?;
        match location {
            Location::Fixed(local) => match local.api_object.downcast_ref::<Arc<A>>() {
                Some(api_object) => Ok(api_object.clone()),
                None => Err(Error::internal(format_args!(
                    "`{full}` does not have the Rust type of {}",
                    A::API
                ))),
            },
            Location::SameModule(..) | Location::OtherProcess(_) => {
                let (_, simple) = full.split_once('/').unwrap_or(("", full));
                self.robot()?.resource(simple)
            }
        }
    }

    /// Returns a dependency that runs in the same module and has type `R`, to be called directly instead of through the
    /// core. `None` if there is none of this name and type.
    #[must_use]
    pub fn local<R: Resource>(&self, name: &str) -> Option<LocalDependency<R>> {
        let named = self
            .given
            .iter()
            .filter(|(full, _)| *full == name || simple_name(full) == plain(name));
        let mut candidates = named.map(|(_, location)| LocalDependency {
            location: location.clone(),
            resource: PhantomData,
        });
        candidates.find(|candidate| candidate.get().is_ok())
    }

    /// Iterates over the full names of all dependencies.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.given.keys().map(String::as_str)
    }

    /// Returns a client of the machine, for resources that are not declared as dependencies and so may come and go.
    ///
    /// # Errors
    /// UNAVAILABLE if the module runs without a core.
    pub fn robot(&self) -> Result<&Robot> {
        self.robot
            .as_ref()
            .ok_or_else(|| Error::unavailable("this module runs without a core, so it reaches no other resource"))
    }

    fn find<A: ResourceApi + ?Sized>(&self, name: &str) -> Result<(&str, &Location)> {
        let full = full_name::<A>(name);
        let entry = self.given.get_key_value(&full).or_else(|| {
            // Remotes are left out of the names that the core gives.
            self.given.get_key_value(&format!("{}/{}", A::API, plain(name)))
        });
        entry.map(|(full, location)| (full.as_str(), location)).ok_or_else(|| {
            let given = if self.given.is_empty() {
                "none".into()
            } else {
                self.names().collect::<Vec<_>>().join(", ")
            };
            Error::not_found(format_args!(
                "the core gave no dependency `{full}` (given: {given}); declare it in validate or name it in depends_on"
            ))
        })
    }
}

impl fmt::Debug for Dependencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

fn simple_name(full: &str) -> &str {
    full.split_once('/').map_or(full, |(_, name)| name)
}

/// Strips API and remotes: `arm` of `rdk:component:arm/remote:arm`.
fn plain(name: &str) -> &str {
    let name = simple_name(name);
    name.rsplit_once(':').map_or(name, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::{Code, Motor, Object, Sensor, object};

    struct Thermometer(f64);

    impl Resource for Thermometer {}

    #[async_trait]
    impl Sensor for Thermometer {
        async fn readings(&self, _: &Object) -> Result<Object> {
            Ok(object! { "celsius" => self.0 })
        }
    }

    fn given() -> Dependencies {
        Dependencies::none().with::<dyn Sensor, _>("roof", Arc::new(Thermometer(4.0)))
    }

    #[tokio::test]
    async fn a_dependency_has_the_type_of_its_api() {
        for name in ["roof", "rdk:component:sensor/roof", "house:roof"] {
            let sensor = given().get::<dyn Sensor>(name).unwrap();
            assert_eq!(
                sensor.readings(crate::NO_EXTRA).await,
                Ok(object! { "celsius" => 4 }),
                "{name}"
            );
        }
        let declared = Dependency::<dyn Sensor>::new("roof");
        assert!(declared.resolve(&given()).is_ok());
    }

    #[test]
    fn one_of_the_same_module_has_the_type_of_its_author() {
        let roof = given().local::<Thermometer>("roof").unwrap();
        assert_eq!(roof.get().unwrap().0, 4.0);
        assert!(given().local::<Thermometer>("cellar").is_none());
    }

    #[test]
    fn what_was_not_given_is_named_with_what_was() {
        let error = given().get::<dyn Motor>("roof").err().unwrap();
        assert_eq!(error.code(), Code::NotFound);
        assert!(
            error
                .message()
                .contains("`rdk:component:motor/roof` (given: rdk:component:sensor/roof)"),
            "{error}"
        );
        let name = "rdk:component:motor/m".to_owned();
        let outside = Dependencies::none().insert(name.clone(), Location::OtherProcess(name));
        assert_eq!(outside.get::<dyn Motor>("m").err().unwrap().code(), Code::Unavailable);
    }
}
