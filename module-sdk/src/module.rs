//! Builder of a module: the models and APIs that one process serves.

use std::{collections::BTreeMap, sync::Arc};

use mainstay_proto::{Api, Model};

use crate::{
    FromConfig, Generic, Implements, ResourceApi, Resources,
    models::{ModelFactory, TypedModel},
    registry::{ApiRegistry, Registry},
};

/// Module under construction: the models that one process offers. Pass it to [`run`](crate::run()).
///
/// ```no_run
/// # use mainstay_module::prelude::*;
/// # struct Lamp;
/// # impl Resource for Lamp {}
/// # impl Generic for Lamp {}
/// # impl FromConfig for Lamp {
/// #     type Attributes = ();
/// #     async fn from_config(_: Config<()>, _: Dependencies) -> Result<Self> { Ok(Self) }
/// # }
/// fn main() -> std::process::ExitCode {
///     mainstay_module::run(Module::new().model::<dyn Generic, Lamp>("acme:lights:lamp"))
/// }
/// ```
pub struct Module {
    pub(crate) registry: Arc<Registry>,
    pub(crate) apis: Vec<Offered>,
    pub(crate) models: BTreeMap<(&'static str, String), Arc<dyn ModelFactory>>,
    /// Keys of `models` in the order of registration.
    order: Vec<(&'static str, String)>,
    /// Errors of registration, returned when the module is started.
    pub(crate) problems: Vec<String>,
}

/// Registration of one API that the module serves.
pub(crate) struct Offered {
    pub api: &'static str,
    pub service: &'static str,
    pub descriptors: &'static [u8],
    pub registry: Arc<dyn ApiRegistry>,
}

impl Offered {
    fn new<A: ResourceApi + ?Sized>(registry: &Registry) -> Self {
        let resources: Resources<A> = registry.resources();
        Self {
            api: A::API,
            service: A::SERVICE,
            descriptors: A::DESCRIPTORS,
            registry: Arc::new(resources),
        }
    }
}

impl Default for Module {
    fn default() -> Self {
        Self::new()
    }
}

impl Module {
    /// Creates a module without models.
    #[must_use]
    pub fn new() -> Self {
        let registry = Arc::new(Registry::default());
        // Commands to custom components arrive at the generic service, so it is always there.
        let apis = vec![Offered::new::<dyn Generic>(&registry)];
        let (models, order, problems) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self {
            registry,
            apis,
            models,
            order,
            problems,
        }
    }

    /// Registers type `R` as the model `namespace:family:name` of API `A`. One type may implement several APIs, and one
    /// name may stand for a model of each. Errors, such as a malformed or repeated name, are returned by
    /// [`run`](crate::run()) and [`start`](Self::start).
    #[must_use]
    pub fn model<A: Implements<R> + ?Sized, R: FromConfig>(mut self, model: &str) -> Self {
        if let Err(error) = A::API.parse::<Api>() {
            self.problems.push(error.to_string());
        }
        match model.parse::<Model>() {
            Ok(parsed) if parsed.to_string() == model => {}
            Ok(full) => self
                .problems
                .push(format!("model `{model}`: write it in full, `{full}`")),
            Err(error) => self.problems.push(error.to_string()),
        }
        match self.apis.iter().find(|offered| offered.api == A::API) {
            Some(offered) if offered.service == A::SERVICE => {}
            Some(offered) => self.problems.push(format!(
                "API `{}` is served by `{}` and by `{}`: there can be one alone",
                A::API,
                offered.service,
                A::SERVICE
            )),
            None => self.apis.push(Offered::new::<A>(&self.registry)),
        }
        let key = (A::API, model.to_owned());
        if self
            .models
            .insert(key.clone(), Arc::new(TypedModel::<A, R>::new()))
            .is_some()
        {
            self.problems
                .push(format!("model `{model}` of API `{}` is added twice", A::API));
        } else {
            self.order.push(key);
        }
        self
    }

    /// Iterates over the registered models as pairs `(api, model)`, in the order of registration.
    pub fn models(&self) -> impl Iterator<Item = (&str, &str)> {
        self.order.iter().map(|(api, model)| (*api, model.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Dependencies, GenericService, Resource, Result};

    struct Lamp;
    impl Resource for Lamp {}
    impl Generic for Lamp {}
    impl GenericService for Lamp {}
    impl FromConfig for Lamp {
        type Attributes = ();
        async fn from_config(_: Config<()>, _: Dependencies) -> Result<Self> {
            Ok(Self)
        }
    }

    #[test]
    fn one_type_may_serve_two_apis_under_one_name() {
        let module = Module::new()
            .model::<dyn GenericService, Lamp>("acme:lights:lamp")
            .model::<dyn Generic, Lamp>("acme:lights:lamp");
        let offered: Vec<_> = module.models().collect();
        assert_eq!(
            offered,
            [
                ("rdk:service:generic", "acme:lights:lamp"),
                ("rdk:component:generic", "acme:lights:lamp")
            ]
        );
        assert!(module.problems.is_empty());
    }

    #[test]
    fn what_is_wrong_with_a_model_is_told() {
        let module = Module::new()
            .model::<dyn Generic, Lamp>("acme:lights:lamp")
            .model::<dyn Generic, Lamp>("acme:lights:lamp")
            .model::<dyn Generic, Lamp>("no model")
            .model::<dyn Generic, Lamp>("lamp");
        assert_eq!(module.problems.len(), 3, "{:?}", module.problems);
        assert!(module.problems[0].contains("added twice"));
        assert!(module.problems[1].contains("`no model`"));
        assert!(module.problems[2].contains("`rdk:builtin:lamp`"));
    }
}
