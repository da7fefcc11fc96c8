//! The first talk with a new process: its socket, Ready, what it offers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay_model::ModuleName;
use mainstay_process::members::Members;
use mainstay_proto::custom::CustomService;
use mainstay_proto::frames::MAX_MESSAGE_LEN;
use mainstay_proto::viam::module::v1::module_service_client::ModuleServiceClient;
use mainstay_proto::viam::module::v1::{HandlerDefinition, ReadyRequest};
use mainstay_proto::{Api, Model, methods};
use mainstay_proxy::table::ModuleApi;
use mainstay_proxy::upstream::Upstream;
use tonic::{Code, Request, Status};
use tracing::warn;

use super::address::{Address, Unreachable};
use super::reflect;

/// First pause between two looks for the socket; a Rust module opens its own within some milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Looks with that pause.
const FIRST_LOOKS: u32 = 20;
/// Longest pause; a Python module needs half a second.
const LAST_PAUSE: Duration = Duration::from_millis(20);
/// Limit for one `Ready` call; a module that is busy is asked again.
const READY_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause before `Ready` is asked again.
const READY_PAUSE: Duration = Duration::from_millis(200);
/// A socket that accepts and then breaks off this often in a row is no gRPC server.
const MAX_BROKEN: u32 = 10;

/// API that a module offers, with its models.
#[derive(Debug, Clone)]
pub struct Handler {
    /// The API.
    pub api: Api,
    /// Full name of the API's gRPC service.
    pub service: String,
    /// The models that the module builds.
    pub models: Vec<Model>,
    /// Descriptors, for an API that only the module knows and sent.
    pub custom: Option<Arc<CustomService>>,
}

impl Handler {
    /// Offer for the route table.
    pub fn offer(&self) -> ModuleApi<'_> {
        ModuleApi {
            api: &self.api,
            service: &self.service,
            custom: self.custom.as_ref(),
        }
    }
}

/// A module that answered.
#[derive(Debug)]
pub struct Handshaken {
    /// The connection.
    pub upstream: Upstream,
    /// APIs and models on offer.
    pub handlers: Arc<[Handler]>,
}

/// Progress of a handshake, for the caller that gives it up.
#[derive(Debug, Clone, Default)]
pub struct HandshakeProgress(Arc<AtomicBool>);

impl HandshakeProgress {
    /// True once somebody listened on the socket.
    pub fn connected(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reason why a running process cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The module answered Ready with an error.
    #[error("error while waiting for module to be ready {module}: Ready failed: {} ({:?})", .status.message(), .status.code())]
    Ready { module: ModuleName, status: Status },
    /// The listener does not speak HTTP/2.
    #[error(
        "error while dialing module {module}: it accepts connections on its socket but does not answer as a gRPC server: {last}"
    )]
    Garbage { module: ModuleName, last: String },
    /// Another program was faster to take the module's TCP port.
    #[error(
        "error while dialing module {module}: another program (of user id {uid}) listens on its TCP port {port}; \
         the next start takes another port"
    )]
    PortTaken { module: ModuleName, port: u16, uid: u32 },
    /// The module offers no API at all.
    #[error("module {0} offers nothing: its Ready answer names no model; register at least one before it serves")]
    OffersNothing(ModuleName),
}

impl HandshakeError {
    /// Short text for a table.
    pub fn short(&self) -> String {
        match self {
            Self::Ready { status, .. } => format!("Ready failed: {}", status.message()),
            Self::Garbage { .. } => "does not answer as a gRPC server on its socket".to_owned(),
            Self::PortTaken { port, .. } => format!("another program took its TCP port {port}"),
            Self::OffersNothing(_) => "offers no model: register at least one before it serves".to_owned(),
        }
    }
}

/// Waits until the module, whose processes are `members`, listens at `socket`, asks Ready until it is, and reads what
/// the module offers. It is told that the core answers at `parent`. The caller limits the time.
pub async fn shake(
    module: &ModuleName,
    socket: &Address,
    members: &Members,
    parent: &Address,
    progress: HandshakeProgress,
) -> Result<Handshaken, HandshakeError> {
    let address = parent.to_string();
    let mut broken = 0;
    let mut broke = |last: String| {
        broken += 1;
        if broken >= MAX_BROKEN {
            Err(HandshakeError::Garbage {
                module: module.clone(),
                last,
            })
        } else {
            Ok(())
        }
    };
    let mut upstream = connect(module, socket, members).await?;
    progress.0.store(true, Ordering::Relaxed);
    loop {
        let mut request = Request::new(ReadyRequest {
            // Python reads only the first of the two, newer Go and C++ prefer the second.
            parent_address: address.clone(),
            raw_parent_address: address.clone(),
            // An offer would make Go modules wait for a peer connection that never comes.
            webrtc_offer: String::new(),
        });
        request.set_timeout(READY_TIMEOUT);
        let mut client = ModuleServiceClient::new(upstream.clone()).max_decoding_message_size(MAX_MESSAGE_LEN);
        match tokio::time::timeout(READY_TIMEOUT, client.ready(request)).await {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                if answer.ready {
                    let definitions = answer.handlermap.map(|map| map.handlers).unwrap_or_default();
                    let handlers = read_handlers(module, definitions, &upstream).await;
                    if handlers.iter().all(|handler| handler.models.is_empty()) {
                        return Err(HandshakeError::OffersNothing(module.clone()));
                    }
                    return Ok(Handshaken {
                        upstream,
                        handlers: handlers.into(),
                    });
                }
            }
            Ok(Err(status)) => match status.code() {
                Code::Unavailable => {
                    broke(status.message().to_owned())?;
                    upstream = connect(module, socket, members).await?;
                }
                Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled => {}
                _ if upstream.is_closed() => {
                    broke(status.message().to_owned())?;
                    upstream = connect(module, socket, members).await?;
                }
                _ => {
                    return Err(HandshakeError::Ready {
                        module: module.clone(),
                        status,
                    });
                }
            },
            Err(_elapsed) => {}
        }
        tokio::time::sleep(READY_PAUSE).await;
    }
}

/// Connects as soon as somebody listens on `socket`.
async fn connect(module: &ModuleName, socket: &Address, members: &Members) -> Result<Upstream, HandshakeError> {
    let mut pause = FIRST_PAUSE;
    for look in 1.. {
        match socket.connect(module, members).await {
            Ok(upstream) => return Ok(upstream),
            Err(Unreachable::NotYet) => {}
            Err(Unreachable::PortTaken { port, uid }) => {
                return Err(HandshakeError::PortTaken {
                    module: module.clone(),
                    port,
                    uid,
                });
            }
        }
        tokio::time::sleep(pause).await;
        if look > FIRST_LOOKS {
            pause = (pause * 5 / 4).min(LAST_PAUSE);
        }
    }
    unreachable!("the looks never end")
}

/// Reads the handler map. Faulty parts are logged and left out; the rest of the module works.
async fn read_handlers(module: &ModuleName, definitions: Vec<HandlerDefinition>, upstream: &Upstream) -> Vec<Handler> {
    let mut handlers: Vec<Handler> = Vec::new();
    for definition in definitions {
        match read_handler(module, definition) {
            // One API given twice is one API with the models of both.
            Ok(handler) => match handlers
                .iter_mut()
                .find(|known| known.api == handler.api && known.service == handler.service)
            {
                Some(known) => known.models.extend(handler.models),
                None => handlers.push(handler),
            },
            Err(problem) => warn!(%module, "{problem}; this entry of its handler map is ignored"),
        }
    }
    let customs: Vec<String> = handlers
        .iter()
        .filter(|handler| methods::service(&handler.service).is_none())
        .map(|handler| handler.service.clone())
        .collect();
    if customs.is_empty() {
        return handlers;
    }
    for (service, outcome) in customs.iter().zip(reflect::reflect(upstream, &customs).await) {
        match outcome {
            Ok(custom) => {
                let custom = Arc::new(custom);
                for handler in handlers.iter_mut().filter(|handler| handler.service == *service) {
                    handler.custom = Some(custom.clone());
                }
            }
            Err(error) => warn!(
                %module, service, error = &error as &dyn std::error::Error,
                "cannot read the descriptors of this API: its calls pass, but tools cannot list its methods",
            ),
        }
    }
    handlers
}

fn read_handler(module: &ModuleName, definition: HandlerDefinition) -> Result<Handler, String> {
    let subtype = definition.subtype.ok_or("an entry without an API")?;
    let service = subtype.proto_service;
    let name = subtype
        .subtype
        .ok_or_else(|| format!("the entry of `{service}` without an API"))?;
    let api = Api::new(&name.namespace, &name.r#type, &name.subtype).map_err(|error| error.to_string())?;
    if service.is_empty() {
        return Err(format!("API `{api}` comes without its gRPC service"));
    }
    let mut models = Vec::new();
    for text in definition.models {
        match text.parse() {
            Ok(model) => models.push(model),
            Err(error) => warn!(%module, %api, "{error}; this model of its handler map is ignored"),
        }
    }
    Ok(Handler {
        api,
        service,
        models,
        custom: None,
    })
}

#[cfg(test)]
mod tests {
    use mainstay_proto::viam::common::v1::ResourceName;
    use mainstay_proto::viam::robot::v1::ResourceRpcSubtype;

    use super::*;

    fn definition(kind: &str, subtype: &str, service: &str, models: &[&str]) -> HandlerDefinition {
        let name = ResourceName {
            namespace: "acme".into(),
            r#type: kind.into(),
            subtype: subtype.into(),
            name: String::new(),
        };
        HandlerDefinition {
            subtype: Some(ResourceRpcSubtype {
                subtype: Some(name),
                proto_service: service.into(),
            }),
            models: models.iter().map(|model| (*model).into()).collect(),
        }
    }

    #[test]
    fn a_handler_needs_a_good_api_and_a_service_and_has_the_good_models() {
        let module = ModuleName::from("acme");
        let models = &["a:b:c", "a:b", "short"];
        let good = read_handler(&module, definition("component", "gizmo", "acme.Gizmo", models)).expect("good");
        let models: Vec<_> = good.models.iter().map(ToString::to_string).collect();
        assert_eq!(models, ["a:b:c", "rdk:builtin:short"]);
        for (bad, expected) in [
            (
                definition("thing", "gizmo", "acme.Gizmo", &["a:b:c"]),
                "must be `component` or `service`",
            ),
            (
                definition("component", "gizmo", "", &["a:b:c"]),
                "without its gRPC service",
            ),
            (definition("component", "", "acme.Gizmo", &["a:b:c"]), "acme"),
            (HandlerDefinition::default(), "without an API"),
        ] {
            let problem = read_handler(&module, bad).expect_err("refused");
            assert!(problem.contains(expected), "{problem} should contain {expected}");
        }
    }
}
