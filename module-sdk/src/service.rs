//! Implementation of `viam.module.v1.ModuleService`, by which the core adds and removes resources. Resources are built
//! in parallel; a name is reserved before its resource is built, so two requests for one name cannot both succeed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use async_trait::async_trait;
use mainstay_proto::{
    Api, VALIDATE_WARNING,
    viam::{
        app::v1::ComponentConfig,
        module::v1::{
            AddResourceRequest, AddResourceResponse, HandlerDefinition, HandlerMap, ReadyRequest, ReadyResponse,
            ReconfigureResourceRequest, ReconfigureResourceResponse, RemoveResourceRequest, RemoveResourceResponse,
            ValidateConfigRequest, ValidateConfigResponse, module_service_server::ModuleService,
        },
        robot::v1::ResourceRpcSubtype,
    },
};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, metadata::MetadataValue};

use crate::{
    Call, Dependencies, Error, Module, Result, Robot,
    call::Scope,
    config::RawConfig,
    models::ModelFactory,
    parent::Parent,
    registry::{ApiRegistry, Registry},
};

/// Warnings that an answer to ValidateConfig carries at most: the headers of an answer have a limit.
const MAX_WARNINGS: usize = 10;

/// State of the module service: registries, models, and the connection to the core.
pub(crate) struct Host {
    registry: Arc<Registry>,
    api_registries: BTreeMap<&'static str, Arc<dyn ApiRegistry>>,
    models: BTreeMap<(&'static str, String), Arc<dyn ModelFactory>>,
    handlers: Vec<HandlerDefinition>,
    parent: Parent,
    /// Receives each new connection to a core; `None` if the module is configured to run without one.
    connected: Option<mpsc::UnboundedSender<Robot>>,
    /// Text of the last failed `Ready`, so that repeated requests log it once.
    last_ready_error: Mutex<String>,
}

impl Host {
    /// Creates the service. Without `connected` the module never connects to a core.
    pub(crate) fn new(module: &Module, connected: Option<mpsc::UnboundedSender<Robot>>) -> Result<Self> {
        Ok(Self {
            registry: module.registry.clone(),
            api_registries: module
                .apis
                .iter()
                .map(|offered| (offered.api, offered.registry.clone()))
                .collect(),
            models: module.models.clone(),
            handlers: handlers(module)?,
            parent: Parent::default(),
            connected,
            last_ready_error: Mutex::default(),
        })
    }

    fn factory(&self, config: &RawConfig) -> Result<&dyn ModelFactory> {
        let found = self
            .models
            .iter()
            .find(|((api, model), _)| *api == config.api && *model == config.model);
        found.map(|(_, factory)| &**factory).ok_or_else(|| {
            let offered: Vec<_> = self
                .models
                .keys()
                .map(|(api, model)| format!("{model} of {api}"))
                .collect();
            Error::not_found(format_args!(
                "this module has no model `{}` of API `{}`; it has {}",
                config.model,
                config.api,
                offered.join(", ")
            ))
        })
    }

    async fn add(&self, config: Option<ComponentConfig>, given: Vec<String>) -> Result<()> {
        let config = RawConfig::from_wire(config)?;
        let factory = self.factory(&config)?;
        let api = &self.api_registries[&*config.api]; // Each model was registered with its API.
        let full_name = config.full_name();
        let reservation = self.registry.reserve(full_name.clone(), &config.name, api.clone())?;
        Scope::mark(&config.label());
        let mut dependencies = Dependencies::through(self.parent.robot());
        for name in given {
            dependencies = dependencies.named(name, &self.registry);
        }
        let instance = factory.build(config, dependencies).await?;
        // A core that stopped waiting will add the resource again, and must find its name free and its hardware too.
        if Call::current()
            .deadline()
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            self.registry.close(*instance).await;
            return Err(Error::deadline_exceeded(format_args!(
                "{full_name} took too long to make, and was closed again"
            )));
        }
        if let Err((instance, error)) = reservation.fill(instance) {
            self.registry.close(*instance).await;
            return Err(error);
        }
        Ok(())
    }

    async fn remove(&self, full_name: &str) -> Result<()> {
        let removed = self.registry.remove(full_name);
        let removed = removed.ok_or_else(|| Error::not_found(format_args!("resource {full_name} not found")))?;
        self.registry.close(removed).await;
        Ok(())
    }

    async fn ready(&self, request: ReadyRequest) -> Result<()> {
        let Some(connected) = &self.connected else {
            return Ok(());
        };
        // Old cores fill the first field alone, and newer ones both.
        let address = if request.raw_parent_address.is_empty() {
            request.parent_address
        } else {
            request.raw_parent_address
        };
        if address.is_empty() {
            return Err(Error::invalid_argument("the request has no `parent_address`"));
        }
        if let Some(robot) = self.parent.connect(&address).await? {
            // Nobody listens any more when the module stops.
            let _ = connected.send(robot);
        }
        Ok(())
    }

    /// Closes all resources, dependents first.
    pub(crate) async fn close(&self) {
        for instance in self.registry.remove_all() {
            self.registry.close(instance).await;
        }
        self.registry.closed().await;
    }
}

/// Builds the handler map of the `Ready` response: the models by API, in the order of registration.
fn handlers(module: &Module) -> Result<Vec<HandlerDefinition>> {
    let mut handlers: Vec<(&str, HandlerDefinition)> = Vec::new();
    for (api, model) in module.models() {
        if let Some((_, handler)) = handlers.iter_mut().find(|(known, _)| *known == api) {
            handler.models.push(model.to_owned());
            continue;
        }
        let parsed: Api = api.parse()?;
        let subtype = mainstay_proto::viam::common::v1::ResourceName {
            namespace: parsed.namespace().to_owned(),
            r#type: parsed.kind().to_owned(),
            subtype: parsed.subtype().to_owned(),
            name: String::new(),
        };
        let service = module
            .apis
            .iter()
            .find(|offered| offered.api == api)
            .map_or("", |offered| offered.service);
        let subtype = ResourceRpcSubtype {
            subtype: Some(subtype),
            proto_service: service.to_owned(),
        };
        handlers.push((
            api,
            HandlerDefinition {
                subtype: Some(subtype),
                models: vec![model.to_owned()],
            },
        ));
    }
    Ok(handlers.into_iter().map(|(_, handler)| handler).collect())
}

#[async_trait]
impl ModuleService for Host {
    async fn ready(&self, request: Request<ReadyRequest>) -> Result<Response<ReadyResponse>, Status> {
        if let Err(error) = self.ready(request.into_inner()).await {
            let mut last = self.last_ready_error.lock().unwrap_or_else(PoisonError::into_inner);
            if *last != error.message() {
                tracing::warn!(%error, "not ready");
                error.message().clone_into(&mut last);
            }
            return Err(error.into());
        }
        let handlermap = Some(HandlerMap {
            handlers: self.handlers.clone(),
        });
        Ok(Response::new(ReadyResponse {
            ready: true,
            handlermap,
            webrtc_answer: String::new(),
        }))
    }

    async fn validate_config(
        &self,
        request: Request<ValidateConfigRequest>,
    ) -> Result<Response<ValidateConfigResponse>, Status> {
        let config = RawConfig::from_wire(request.into_inner().config)?;
        let factory = self.factory(&config)?;
        Scope::mark(&config.label());
        let (spec, unknown) = factory.validate(config)?;
        let (dependencies, optional_dependencies) = (spec.required, spec.optional);
        let mut response = Response::new(ValidateConfigResponse {
            dependencies,
            optional_dependencies,
        });
        for attribute in unknown.iter().take(MAX_WARNINGS) {
            let warning = MetadataValue::from_bytes(attribute.to_string().as_bytes());
            response.metadata_mut().append_bin(VALIDATE_WARNING, warning);
        }
        Ok(response)
    }

    async fn add_resource(
        &self,
        request: Request<AddResourceRequest>,
    ) -> Result<Response<AddResourceResponse>, Status> {
        let AddResourceRequest { config, dependencies } = request.into_inner();
        self.add(config, dependencies).await?;
        Ok(Response::new(AddResourceResponse {}))
    }

    async fn reconfigure_resource(
        &self,
        request: Request<ReconfigureResourceRequest>,
    ) -> Result<Response<ReconfigureResourceResponse>, Status> {
        let ReconfigureResourceRequest { config, dependencies } = request.into_inner();
        // What is wrong with the new configuration is known before the old resource ends.
        let raw = RawConfig::from_wire(config.clone())?;
        self.factory(&raw)?.validate(raw.clone())?;
        self.remove(&raw.full_name()).await?;
        self.add(config, dependencies).await?;
        Ok(Response::new(ReconfigureResourceResponse {}))
    }

    async fn remove_resource(
        &self,
        request: Request<RemoveResourceRequest>,
    ) -> Result<Response<RemoveResourceResponse>, Status> {
        self.remove(&request.into_inner().name).await?;
        Ok(Response::new(RemoveResourceResponse {}))
    }
}
