//! How the models of a module are kept: each knows how to check a configuration and how to make a resource of it,
//! and nobody else knows its types.

use std::{marker::PhantomData, sync::Arc};

use futures_util::future::BoxFuture;

use crate::{
    Accepts, Config, Dependencies, FromConfig, Needs, Result,
    config::{RawConfig, Tasks},
    dependencies::Local,
    registry::Made,
};

/// A model without its types.
pub(crate) trait Maker: Send + Sync {
    /// What the configuration needs, or what is wrong with it.
    fn validate(&self, config: RawConfig) -> Result<Needs>;
    /// Makes a resource. Dropping the future ends what it began.
    fn make(&self, config: RawConfig, dependencies: Dependencies) -> BoxFuture<'static, Result<Box<Made>>>;
}

/// A model with its types: the API and the author's.
pub(crate) struct ModelOf<A: ?Sized, R>(PhantomData<Types<A, R>>);

/// Owns neither, so the model may go from thread to thread whatever they are.
type Types<A, R> = fn(&A) -> R;

impl<A: ?Sized, R> ModelOf<A, R> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<A: Accepts<R> + ?Sized, R: FromConfig> Maker for ModelOf<A, R> {
    fn validate(&self, config: RawConfig) -> Result<Needs> {
        let name = config.full_name();
        let (config, declared): (Config<R::Attributes>, _) = config.read()?;
        let said = R::validate(&config).map_err(|error| error.context(name))?;
        Ok(merge(declared, said))
    }

    fn make(&self, config: RawConfig, dependencies: Dependencies) -> BoxFuture<'static, Result<Box<Made>>> {
        Box::pin(async move {
            let (label, geometry) = (config.label(), config.geometry.clone());
            let (config, _) = config.read()?;
            let mut unfinished = Unfinished(Some(config.tasks.clone()));
            let resource = Arc::new(R::from_config(config, dependencies).await?);
            let face = A::erase(resource.clone());
            let halt = Box::new({
                let face = face.clone();
                move || A::halt(face.clone())
            });
            // Taken only now: from here on, closing the resource ends its tasks.
            let tasks = unfinished.0.take().expect("it was filled above");
            let local = Local {
                face: Arc::new(face),
                concrete: resource.clone(),
            };
            Ok(Box::new(Made {
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

/// Ends the tasks of a resource that never came to be.
struct Unfinished(Option<Tasks>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(tasks) = &self.0 {
            tasks.cancel();
        }
    }
}

/// Puts what the attributes declare in front of what `validate` adds, each name once.
fn merge(declared: Needs, said: Needs) -> Needs {
    let mut needs = Needs::none();
    for name in declared.required.into_iter().chain(said.required) {
        if !needs.required.contains(&name) {
            needs.required.push(name);
        }
    }
    for name in declared.optional.into_iter().chain(said.optional) {
        if !needs.optional.contains(&name) && !needs.required.contains(&name) {
            needs.optional.push(name);
        }
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoder, Motor};

    #[test]
    fn each_need_is_named_once_and_required_wins() {
        let declared = Needs::none()
            .required::<dyn Motor>("left")
            .optional::<dyn Encoder>("enc");
        let said = Needs::none()
            .required::<dyn Motor>("left")
            .required::<dyn Encoder>("enc");
        let merged = merge(declared, said);
        assert_eq!(
            merged.required,
            ["rdk:component:motor/left", "rdk:component:encoder/enc"]
        );
        assert!(merged.optional.is_empty());
    }
}
