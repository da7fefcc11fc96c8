//! Model factories: validate a configuration and build a resource from it. The only code that knows the author's types
//! behind a model; the rest of the SDK sees [`ModelFactory`].

use std::{marker::PhantomData, sync::Arc};

use futures_util::future::BoxFuture;

use crate::{
    Dependencies, DependencySpec, FromConfig, Implements, Result,
    attributes::UnknownAttribute,
    config::{RawConfig, Tasks},
    dependencies::LocalResource,
    registry::Instance,
};

/// Type-erased factory of the resources of one model.
pub(crate) trait ModelFactory: Send + Sync {
    /// Validates a configuration and returns its dependencies, and the attributes that the model does not know.
    fn validate(&self, config: RawConfig) -> Result<(DependencySpec, Vec<UnknownAttribute>)>;
    /// Builds a resource. Dropping the future cancels the tasks it started.
    fn build(&self, config: RawConfig, dependencies: Dependencies) -> BoxFuture<'static, Result<Box<Instance>>>;
}

/// Model factory for API `A` and the author's type `R`.
pub(crate) struct TypedModel<A: ?Sized, R>(PhantomData<Types<A, R>>);

/// Marker that owns neither type, so the factory is `Send` and `Sync` whatever they are.
type Types<A, R> = fn(&A) -> R;

impl<A: ?Sized, R> TypedModel<A, R> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<A: Implements<R> + ?Sized, R: FromConfig> ModelFactory for TypedModel<A, R> {
    fn validate(&self, config: RawConfig) -> Result<(DependencySpec, Vec<UnknownAttribute>)> {
        let name = config.full_name();
        let (config, declared, unknown) = config.read::<R::Attributes>()?;
        let added = R::validate(&config).map_err(|error| error.context(name))?;
        Ok((merge(declared, added), unknown))
    }

    fn build(&self, config: RawConfig, dependencies: Dependencies) -> BoxFuture<'static, Result<Box<Instance>>> {
        Box::pin(async move {
            let (label, geometry) = (config.label(), config.geometry.clone());
            let (config, _, unknown) = config.read()?;
            for attribute in unknown {
                tracing::warn!("{attribute}");
            }
            let mut tasks_guard = CancelOnDrop(Some(config.tasks.clone()));
            let resource = Arc::new(R::from_config(config, dependencies).await?);
            let api_object = A::erase(resource.clone());
            let halt = Box::new({
                let api_object = api_object.clone();
                move || A::halt(api_object.clone())
            });
            // Taken only now: from here on, closing the resource ends its tasks.
            let tasks = tasks_guard.0.take().expect("it was filled above");
            let local = LocalResource {
                api_object: Arc::new(api_object),
                concrete: resource.clone(),
            };
            Ok(Box::new(Instance {
                resource,
                local,
                label,
                geometry,
                tasks,
                halt,
            }))
        })
    }
}

/// Guard that cancels the tasks of a resource whose construction failed or was cancelled.
struct CancelOnDrop(Option<Tasks>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(tasks) = &self.0 {
            tasks.cancel();
        }
    }
}

/// Merges the dependencies declared by attributes with those added by `validate`, in this order, each name once.
fn merge(declared: DependencySpec, added: DependencySpec) -> DependencySpec {
    let mut merged = DependencySpec::none();
    for name in declared.required.into_iter().chain(added.required) {
        if !merged.required.contains(&name) {
            merged.required.push(name);
        }
    }
    for name in declared.optional.into_iter().chain(added.optional) {
        if !merged.optional.contains(&name) && !merged.required.contains(&name) {
            merged.optional.push(name);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoder, Motor};

    #[test]
    fn each_dependency_is_named_once_and_required_wins() {
        let declared = DependencySpec::none()
            .required::<dyn Motor>("left")
            .optional::<dyn Encoder>("enc");
        let added = DependencySpec::none()
            .required::<dyn Motor>("left")
            .required::<dyn Encoder>("enc");
        let merged = merge(declared, added);
        assert_eq!(
            merged.required,
            ["rdk:component:motor/left", "rdk:component:encoder/enc"]
        );
        assert!(merged.optional.is_empty());
    }
}
