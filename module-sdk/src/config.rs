//! Configuration of a resource, decoded from the `ComponentConfig` of an AddResource request.

use std::{future::Future, sync::Arc};

use mainstay_proto::viam::app::v1::ComponentConfig;
use serde::de::DeserializeOwned;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Level;

use crate::{
    DependencySpec, Error, Object, Result,
    attributes::{AttributeError, UnknownAttribute, read},
    call::{Label, Scope},
    dependencies::collect,
    spatial::Geometry,
    value::wire,
};

/// Configuration of one resource, with its attributes as the author's type `A`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Config<A> {
    /// Simple name, for example `left`.
    pub name: String,
    /// API, for example `rdk:component:motor`.
    pub api: String,
    /// Model, for example `acme:motors:stepper`.
    pub model: String,
    /// Attributes, the model's own settings.
    pub attributes: A,
    /// Geometry configured as `frame.geometry`.
    pub geometry: Option<Geometry>,
    /// Names configured as `depends_on`, besides the dependencies that attributes declare.
    pub depends_on: Vec<String>,
    /// Spawner of background tasks, which are cancelled when the resource is closed.
    pub tasks: Tasks,
}

impl<A> Config<A> {
    /// Creates a configuration by hand, for tests. API and model are empty.
    #[must_use]
    pub fn new(name: impl Into<String>, attributes: A) -> Self {
        let name = name.into();
        let tasks = Tasks::new(Arc::new(Label {
            name: name.clone(),
            level: None,
        }));
        let (api, model, geometry, depends_on) = (String::new(), String::new(), None, Vec::new());
        Self {
            name,
            api,
            model,
            attributes,
            geometry,
            depends_on,
            tasks,
        }
    }
}

/// Background tasks of one resource. They are cancelled when the resource is closed, and their log entries carry the
/// resource's name.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    label: Arc<Label>,
}

impl Tasks {
    pub(crate) fn new(label: Arc<Label>) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            label,
        }
    }

    /// Spawns a background task. Its future is dropped at its next `await` when the resource is closed.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let work = async move { stop.run_until_cancelled_owned(work).await };
        drop(self.tracker.spawn(Scope::of_resource(self.label.clone()).run(work)));
    }

    /// Cancels all tasks and waits until they have ended.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Cancels all tasks without waiting, for a resource whose construction failed.
    pub(crate) fn cancel(&self) {
        self.stop.cancel();
    }
}

/// Configuration whose attributes are not deserialized yet.
#[derive(Clone, Debug)]
pub(crate) struct RawConfig {
    pub name: String,
    pub api: String,
    pub model: String,
    pub attributes: Object,
    pub geometry: Option<Geometry>,
    pub depends_on: Vec<String>,
    /// Log level of the resource if it differs from the module's.
    pub level: Option<Level>,
}

impl RawConfig {
    /// Decodes the configuration of a request.
    pub(crate) fn from_wire(config: Option<ComponentConfig>) -> Result<Self> {
        let config = config.ok_or_else(|| Error::invalid_argument("the request has no `config`"))?;
        if config.name.is_empty() {
            return Err(Error::invalid_argument("the request's `config` has no `name`"));
        }
        // Older cores fill the deprecated pair alone, which cannot tell a service from a component.
        let api = if config.api.is_empty() {
            format!("{}:component:{}", config.namespace, config.r#type)
        } else {
            config.api
        };
        // A single word is short for a built-in model.
        let model = if config.model.contains(':') {
            config.model
        } else {
            format!("rdk:builtin:{}", config.model)
        };
        let level = config
            .log_configuration
            .and_then(|log| crate::logs::parse_level(&log.level));
        let geometry = config
            .frame
            .and_then(|frame| frame.geometry)
            .and_then(Geometry::from_wire);
        let attributes = wire::from_struct(config.attributes);
        Ok(Self {
            name: config.name,
            api,
            model,
            attributes,
            geometry,
            depends_on: config.depends_on,
            level,
        })
    }

    /// Returns the full name, such as `rdk:component:motor/left`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.api, self.name)
    }

    pub(crate) fn label(&self) -> Arc<Label> {
        Arc::new(Label {
            name: self.full_name(),
            level: self.level,
        })
    }

    /// Deserializes the attributes into the author's type, and collects the dependencies that they declare and the
    /// attributes that the type does not know.
    pub(crate) fn read<A: DeserializeOwned>(self) -> Result<(Config<A>, DependencySpec, Vec<UnknownAttribute>)> {
        let label = self.label();
        let (attributes, declared) = collect(|| read::<A>(self.attributes));
        let (attributes, unknown) = attributes
            .map_err(|error: AttributeError| Error::invalid_argument(format_args!("{}: {error}", label.name)))?;
        let Self {
            name,
            api,
            model,
            geometry,
            depends_on,
            ..
        } = self;
        Ok((
            Config {
                name,
                api,
                model,
                attributes,
                geometry,
                depends_on,
                tasks: Tasks::new(label),
            },
            declared,
            unknown,
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::{Dependency, Motor};

    #[derive(Debug, Deserialize)]
    struct Base {
        left: Dependency<dyn Motor>,
        spare: Option<Dependency<dyn Motor>>,
        width_mm: u32,
    }

    fn config(attributes: Object) -> RawConfig {
        let attributes = Some(wire::to_struct(attributes));
        let api = "rdk:component:base".to_owned();
        let config = ComponentConfig {
            name: "rover".into(),
            api,
            attributes,
            ..Default::default()
        };
        RawConfig::from_wire(Some(config)).unwrap()
    }

    #[test]
    fn attributes_declare_dependencies() {
        let raw = config(crate::object! { "left" => "l", "width_mm" => 300 });
        let (config, spec, _) = raw.read::<Base>().unwrap();
        assert_eq!((config.attributes.left.name(), config.attributes.width_mm), ("l", 300));
        assert!(config.attributes.spare.is_none());
        assert_eq!(spec, DependencySpec::none().required::<dyn Motor>("l"));
        let (_, spec, _) =
            self::config(crate::object! { "left" => "l", "spare" => "rdk:component:motor/s", "width_mm" => 1 })
                .read::<Base>()
                .unwrap();
        assert_eq!(spec.required, ["rdk:component:motor/l", "rdk:component:motor/s"]);
    }

    #[test]
    fn an_error_names_the_resource_and_the_attribute() {
        let error = config(crate::object! { "left" => "l", "width_mm" => "wide" })
            .read::<Base>()
            .unwrap_err();
        let text = "rdk:component:base/rover: attribute `width_mm`: invalid type: string \"wide\", expected u32";
        assert_eq!(error, Error::invalid_argument(text));
    }

    #[test]
    fn a_config_without_a_name_is_refused_and_short_forms_are_completed() {
        assert!(RawConfig::from_wire(None).is_err());
        assert!(RawConfig::from_wire(Some(ComponentConfig::default())).is_err());
        let old = ComponentConfig {
            name: "m".into(),
            namespace: "rdk".into(),
            r#type: "motor".into(),
            model: "fake".into(),
            ..Default::default()
        };
        let raw = RawConfig::from_wire(Some(old)).unwrap();
        assert_eq!(
            (raw.full_name(), raw.model),
            ("rdk:component:motor/m".into(), "rdk:builtin:fake".into())
        );
    }

    #[tokio::test]
    async fn tasks_end_with_their_resource() {
        let tasks = Config::new("x", ()).tasks;
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn(async move {
            let _held = sender;
            std::future::pending().await
        });
        tasks.end().await;
        assert!(receiver.await.is_err());
    }
}
