//! The resources that a resource uses: declared by attributes or by `validate`, found by API and name.

use std::{
    any::Any,
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    marker::PhantomData,
    sync::{Arc, Weak},
};

use serde::{Deserialize, Deserializer};

use crate::{Accepts, Error, Needs, Resource, ResourceApi, Result, Robot, registry::Registry, resource::full_name};

thread_local! {
    /// What the attributes that are being read declare. Reading does not wait, so nothing else gets in between.
    static DECLARED: RefCell<Needs> = RefCell::default();
}

/// Runs `read` and says which dependencies came up.
pub(crate) fn collect<T>(read: impl FnOnce() -> T) -> (T, Needs) {
    DECLARED.take();
    let value = read();
    (value, DECLARED.take())
}

/// An attribute that names a resource. Declares it as required by being read; use `Option` for one that need not be
/// configured, and [`OptionalDependency`] for one that need not be there.
pub struct Dependency<A: ?Sized> {
    name: String,
    api: PhantomData<fn() -> Box<A>>,
}

/// An attribute that names a resource which is used when it is there. The resource is made again when that changes.
pub struct OptionalDependency<A: ?Sized>(Dependency<A>);

impl<A: ResourceApi + ?Sized> Dependency<A> {
    /// One made by hand, for tests.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            api: PhantomData,
        }
    }

    /// As configured.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The resource.
    ///
    /// # Errors
    /// NOT_FOUND when the core did not give it.
    pub fn resolve(&self, dependencies: &Dependencies) -> Result<Arc<A>> {
        dependencies.get(&self.name)
    }
}

impl<A: ResourceApi + ?Sized> OptionalDependency<A> {
    /// As configured.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The resource, if it is there.
    #[must_use]
    pub fn resolve(&self, dependencies: &Dependencies) -> Option<Arc<A>> {
        self.0.resolve(dependencies).ok()
    }
}

impl<'de, A: ResourceApi + ?Sized> Deserialize<'de> for Dependency<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = name(deserializer)?;
        DECLARED.with_borrow_mut(|needs| needs.required.push(full_name::<A>(&name)));
        Ok(Self { name, api: PhantomData })
    }
}

impl<'de, A: ResourceApi + ?Sized> Deserialize<'de> for OptionalDependency<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = name(deserializer)?;
        DECLARED.with_borrow_mut(|needs| needs.optional.push(full_name::<A>(&name)));
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

/// Another resource of the same module, as its author's own type. The core may make it anew while those who use it stay as
/// they are (with another `frame`, say), so it is looked up at each use, and must not be kept longer than that.
pub struct Neighbour<R> {
    place: Place,
    resource: PhantomData<fn() -> R>,
}

impl<R: Resource> Neighbour<R> {
    /// The resource as it is now.
    ///
    /// # Errors
    /// UNAVAILABLE while it is not there, or another one is in its place.
    pub fn get(&self) -> Result<Arc<R>> {
        let gone = |name: &str| Error::unavailable(format_args!("`{name}` is not there at the moment"));
        match &self.place {
            Place::Hand(local) => local.concrete.clone().downcast().map_err(|_| gone("it")),
            Place::Here(registry, name) => {
                let local = registry.upgrade().and_then(|registry| registry.local(name));
                let resource = local.and_then(|local| local.concrete.downcast().ok());
                resource.ok_or_else(|| gone(name))
            }
            Place::Elsewhere(name) => Err(gone(name)),
        }
    }
}

impl<R> fmt::Debug for Neighbour<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Hand(_) => f.write_str("Neighbour"),
            Place::Here(_, name) | Place::Elsewhere(name) => write!(f, "Neighbour({name})"),
        }
    }
}

/// Where a resource that was given is found.
#[derive(Clone)]
enum Place {
    /// It was given by hand.
    Hand(Local),
    /// In this module, or so it was when it was given. Who is looked up is not kept by who looks.
    Here(Weak<Registry>, String),
    /// In another process.
    Elsewhere(String),
}

/// A resource that lives in this process, with both its faces.
#[derive(Clone)]
pub(crate) struct Local {
    /// An `Arc<A>` of its API.
    pub face: Arc<dyn Any + Send + Sync>,
    /// The author's type.
    pub concrete: Arc<dyn Any + Send + Sync>,
}

/// The resources that the core gave to one resource.
#[derive(Clone, Default)]
pub struct Dependencies {
    /// By full name.
    given: BTreeMap<String, Place>,
    robot: Option<Robot>,
}

impl Dependencies {
    /// No resources.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a resource by hand, for tests.
    #[must_use]
    pub fn with<A: Accepts<R> + ?Sized, R: Resource>(self, name: &str, resource: Arc<R>) -> Self {
        let local = Local {
            face: Arc::new(A::erase(resource.clone())),
            concrete: resource,
        };
        self.given(full_name::<A>(name), Place::Hand(local))
    }

    pub(crate) fn through(robot: Option<Robot>) -> Self {
        Self {
            given: BTreeMap::new(),
            robot,
        }
    }

    /// Adds one that the core gave. It may be in `registry`, too.
    pub(crate) fn named(self, full_name: String, registry: &Arc<Registry>) -> Self {
        let place = match registry.local(&full_name) {
            Some(_) => Place::Here(Arc::downgrade(registry), full_name.clone()),
            None => Place::Elsewhere(full_name.clone()),
        };
        self.given(full_name, place)
    }

    fn given(mut self, full_name: String, place: Place) -> Self {
        self.given.insert(full_name, place);
        self
    }

    /// The resource with this API and name. It is called through the core, also one of the same module: so what holds it
    /// may stay as it is when it is made anew.
    ///
    /// # Errors
    /// NOT_FOUND when it is not among those that the core gave; the text lists them. UNIMPLEMENTED when its API has no
    /// client; if it is of the same module, [`local`](Self::local) finds it.
    pub fn get<A: ResourceApi + ?Sized>(&self, name: &str) -> Result<Arc<A>> {
        let (full, place) = self.find::<A>(name)?;
        match place {
            Place::Hand(local) => match local.face.downcast_ref::<Arc<A>>() {
                Some(face) => Ok(face.clone()),
                None => Err(Error::internal(format_args!(
                    "`{full}` does not have the Rust type of {}",
                    A::API
                ))),
            },
            Place::Here(..) | Place::Elsewhere(_) => {
                let (_, simple) = full.split_once('/').unwrap_or(("", full));
                self.robot()?.resource(simple)
            }
        }
    }

    /// A dependency that lives in the same module and is of this type, without a way through the core.
    #[must_use]
    pub fn local<R: Resource>(&self, name: &str) -> Option<Neighbour<R>> {
        let named = self
            .given
            .iter()
            .filter(|(full, _)| *full == name || simple_name(full) == plain(name));
        let mut neighbours = named.map(|(_, place)| Neighbour {
            place: place.clone(),
            resource: PhantomData,
        });
        neighbours.find(|neighbour| neighbour.get().is_ok())
    }

    /// The names of all, in full.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.given.keys().map(String::as_str)
    }

    /// The machine, for resources that are not declared: they may come and go.
    ///
    /// # Errors
    /// UNAVAILABLE when the module runs without a core.
    pub fn robot(&self) -> Result<&Robot> {
        self.robot
            .as_ref()
            .ok_or_else(|| Error::unavailable("this module runs without a core, so it reaches no other resource"))
    }

    fn find<A: ResourceApi + ?Sized>(&self, name: &str) -> Result<(&str, &Place)> {
        let full = full_name::<A>(name);
        let entry = self.given.get_key_value(&full).or_else(|| {
            // Remotes are left out of the names that the core gives.
            self.given.get_key_value(&format!("{}/{}", A::API, plain(name)))
        });
        entry.map(|(full, place)| (full.as_str(), place)).ok_or_else(|| {
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

/// `arm` of `rdk:component:arm/remote:arm`.
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
        let outside = Dependencies::none().given(name.clone(), Place::Elsewhere(name));
        assert_eq!(outside.get::<dyn Motor>("m").err().unwrap().code(), Code::Unavailable);
    }
}
