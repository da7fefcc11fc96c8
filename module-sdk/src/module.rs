//! A module: its models, put together by the author and then served.

use std::{collections::BTreeMap, sync::Arc};

use mainstay_proto::{Api, Model};

use crate::{
    Accepts, FromConfig, Generic, ResourceApi, Resources,
    models::{Maker, ModelOf},
    registry::{Registry, Shelf},
};

/// A set of models that one process offers. Give it to [`run`](crate::run).
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
    pub(crate) models: BTreeMap<(&'static str, String), Arc<dyn Maker>>,
    /// The order in which the author named the models.
    order: Vec<(&'static str, String)>,
    /// What is wrong with how it was put together; told when it is run.
    pub(crate) problems: Vec<String>,
}

/// One API that the module serves.
pub(crate) struct Offered {
    pub api: &'static str,
    pub service: &'static str,
    pub descriptors: &'static [u8],
    pub shelf: Arc<dyn Shelf>,
}

impl Offered {
    fn new<A: ResourceApi + ?Sized>(registry: &Registry) -> Self {
        let shelf: Resources<A> = registry.shelf();
        Self {
            api: A::API,
            service: A::SERVICE,
            descriptors: A::DESCRIPTORS,
            shelf: Arc::new(shelf),
        }
    }
}

impl Default for Module {
    fn default() -> Self {
        Self::new()
    }
}

impl Module {
    /// A module without models.
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

    /// Adds a model, `namespace:family:name`, of the API `A`. One type may serve several APIs, and one name may stand
    /// for a model of each.
    #[must_use]
    pub fn model<A: Accepts<R> + ?Sized, R: FromConfig>(mut self, model: &str) -> Self {
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
            .insert(key.clone(), Arc::new(ModelOf::<A, R>::new()))
            .is_some()
        {
            self.problems
                .push(format!("model `{model}` of API `{}` is added twice", A::API));
        } else {
            self.order.push(key);
        }
        self
    }

    /// What it offers, as pairs of API and model, in the order in which they were added.
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
