//! `mainstay.access.v1`: what a caller is told of its own rights.

use std::sync::Arc;

use mainstay_auth::access::Access;
use mainstay_proto::mainstay::access::v1 as pb;
use mainstay_proto::mainstay::access::v1::access_service_server::AccessService;
use mainstay_proxy::identity::{Caller, ClientIdentity, Identity};
use tonic::{Request, Response, Status};

use crate::local_services::is_proved;

/// The service.
#[derive(Debug, Clone)]
pub struct AccessState {
    access: Arc<Access>,
}

impl AccessState {
    /// A service that knows the rights in `access`.
    pub fn new(access: Arc<Access>) -> Self {
        Self { access }
    }

    fn describe(&self, identity: &Identity) -> pb::WhoAmIResponse {
        let entity = match identity {
            Identity::Client(ClientIdentity { entity, .. }) => entity.clone(),
            Identity::Control | Identity::Module(_) | Identity::Job(_) => None,
        };
        let rights = entity.as_ref().and_then(|entity| self.access.policy().rights(entity));
        let unlimited = rights.as_ref().is_none_or(|rights| rights.are_unlimited());
        pb::WhoAmIResponse {
            roles: rights
                .iter()
                .flat_map(|rights| rights.names())
                .map(str::to_owned)
                .collect(),
            unlimited,
            control: unlimited && is_proved(identity),
            entity: entity.as_ref().map(|entity| entity.id.clone()).unwrap_or_default(),
            credential: entity.map(|entity| entity.credential.clone()).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

#[tonic::async_trait]
impl AccessService for AccessState {
    async fn who_am_i(&self, request: Request<pb::WhoAmIRequest>) -> Result<Response<pb::WhoAmIResponse>, Status> {
        let caller = request.extensions().get::<Caller>();
        let caller = caller.ok_or_else(|| Status::internal("nobody knows who called"))?;
        Ok(Response::new(self.describe(&caller.identity)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mainstay_model::{Config, Role};
    use mainstay_proxy::identity::Entity;

    use super::*;

    #[test]
    fn a_caller_learns_its_roles_and_whether_it_may_do_everything() {
        let mut config = Config::empty(Path::new("r.yaml"));
        let access = Arc::new(Access::new(&config).expect("random numbers"));
        let state = AccessState::new(access.clone());
        let at = |text: &str| text.parse().expect("an address");
        let client = |entity: Option<&str>| {
            let entity = entity.map(|id| {
                Arc::new(Entity {
                    id: id.to_owned(),
                    credential: "api-key".to_owned(),
                })
            });
            Identity::Client(ClientIdentity {
                entity,
                ..ClientIdentity::new(at("127.0.0.1:1"), at("127.0.0.1:8080"))
            })
        };
        let told = |identity: &Identity| {
            let answer = state.describe(identity);
            (answer.entity, answer.roles.join(" "), answer.unlimited, answer.control)
        };
        let expected =
            |entity: &str, roles: &str, unlimited, control| (entity.to_owned(), roles.to_owned(), unlimited, control);
        // Whoever proved nothing may call everything that there is for it, which is not the control service.
        assert_eq!(told(&client(None)), expected("", "", true, false));
        assert_eq!(told(&Identity::Control), expected("", "", true, true));
        assert_eq!(told(&Identity::Job("j".into())), expected("", "", true, false));
        assert_eq!(told(&client(Some("a"))), expected("a", "", true, true));
        let role = |name: &str, entity: &str| Role {
            name: name.to_owned(),
            entities: vec![entity.to_owned()],
            allow: Vec::new(),
        };
        config.auth.roles = Some(vec![role("owner", "a"), role("viewer", "a"), role("operator", "b")]);
        access.take_up(&config);
        assert_eq!(told(&client(Some("a"))), expected("a", "owner viewer", true, true));
        assert_eq!(told(&client(Some("b"))), expected("b", "operator", false, false));
        assert_eq!(told(&client(Some("c"))), expected("c", "", false, false));
    }
}
