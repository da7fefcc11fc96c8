//! `viam.module.v1.ModuleService`: what the core asks a module to do. Adding runs in parallel; a name is kept from the
//! first moment, so two requests for one resource cannot both win.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use async_trait::async_trait;
use mainstay_proto::{
    Api,
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
use tonic::{Request, Response, Status};

use crate::{
    Call, Dependencies, Error, Module, Result, Robot,
    call::Scope,
    config::RawConfig,
    models::Maker,
    parent::Parent,
    registry::{Registry, Shelf},
};

/// The module's side of its life.
pub(crate) struct Host {
    registry: Arc<Registry>,
    shelves: BTreeMap<&'static str, Arc<dyn Shelf>>,
    models: BTreeMap<(&'static str, String), Arc<dyn Maker>>,
    handlers: Vec<HandlerDefinition>,
    parent: Parent,
    /// Tells of each connection to a core; none when the module runs alone on purpose.
    connected: Option<mpsc::UnboundedSender<Robot>>,
    /// The text of the last wrong `Ready`, so that a core which asks again and again is told once.
    complaint: Mutex<String>,
}

impl Host {
    /// `connected` hears of the core; without it the module never connects.
    pub(crate) fn new(module: &Module, connected: Option<mpsc::UnboundedSender<Robot>>) -> Result<Self> {
        Ok(Self {
            registry: module.registry.clone(),
            shelves: module
                .apis
                .iter()
                .map(|offered| (offered.api, offered.shelf.clone()))
                .collect(),
            models: module.models.clone(),
            handlers: handlers(module)?,
            parent: Parent::default(),
            connected,
            complaint: Mutex::default(),
        })
    }

    fn maker(&self, config: &RawConfig) -> Result<&dyn Maker> {
        let found = self
            .models
            .iter()
            .find(|((api, model), _)| *api == config.api && *model == config.model);
        found.map(|(_, maker)| &**maker).ok_or_else(|| {
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
        let maker = self.maker(&config)?;
        let shelf = &self.shelves[&*config.api]; // Each model came with the shelf of its API.
        let full_name = config.full_name();
        let place = self.registry.reserve(full_name.clone(), &config.name, shelf.clone())?;
        Scope::mark(&config.label());
        let mut dependencies = Dependencies::through(self.parent.robot());
        for name in given {
            dependencies = dependencies.named(name, &self.registry);
        }
        let made = maker.make(config, dependencies).await?;
        // A core that stopped waiting will add the resource again, and must find its name free and its hardware too.
        if Call::current()
            .deadline()
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            self.registry.close(*made).await;
            return Err(Error::deadline_exceeded(format_args!(
                "{full_name} took too long to make, and was closed again"
            )));
        }
        if let Err((made, error)) = place.fill(made) {
            self.registry.close(*made).await;
            return Err(error);
        }
        Ok(())
    }

    async fn remove(&self, full_name: &str) -> Result<()> {
        let taken = self.registry.take(full_name);
        let taken = taken.ok_or_else(|| Error::not_found(format_args!("resource {full_name} not found")))?;
        self.registry.close(taken).await;
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

    /// Ends every resource, dependents first.
    pub(crate) async fn close(&self) {
        for made in self.registry.take_all() {
            self.registry.close(made).await;
        }
        self.registry.closed().await;
    }
}

/// What the module tells the core that it offers: its models by API, in the order of the author.
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
            let mut complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
            if *complaint != error.message() {
                tracing::warn!(%error, "not ready");
                error.message().clone_into(&mut complaint);
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
        let maker = self.maker(&config)?;
        Scope::mark(&config.label());
        let needs = maker.validate(config)?;
        let (dependencies, optional_dependencies) = (needs.required, needs.optional);
        Ok(Response::new(ValidateConfigResponse {
            dependencies,
            optional_dependencies,
        }))
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
        self.maker(&raw)?.validate(raw.clone())?;
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
