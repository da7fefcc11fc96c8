//! `proto.rpc.v1.AuthService`: tokens for those who show their credentials.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use mainstay_auth::access::{Access, Candidate};
use mainstay_proto::proto::rpc::v1::auth_service_server::AuthService;
use mainstay_proto::proto::rpc::v1::{AuthenticateRequest, AuthenticateResponse};
use mainstay_proxy::identity::{Caller, Identity};
use tonic::{Request, Response, Status};

/// The service.
#[derive(Debug, Clone)]
pub struct AuthState {
    access: Arc<Access>,
}

impl AuthState {
    /// A service that gives tokens for `access`.
    pub fn new(access: Arc<Access>) -> Self {
        Self { access }
    }
}

#[tonic::async_trait]
impl AuthService for AuthState {
    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        if request.metadata().contains_key("authorization") {
            return Err(Status::invalid_argument(
                "already authenticated; cannot re-authenticate",
            ));
        }
        let address = match request.extensions().get::<Caller>().map(|caller| &*caller.identity) {
            Some(Identity::Client(client)) => client.remote.ip(),
            // Through another socket: somebody on this host.
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let asked = request.into_inner();
        let credentials = asked.credentials.as_ref();
        let token = self.access.authenticate(Candidate {
            address,
            entity: &asked.entity,
            credentials: credentials.map(|given| (given.r#type.as_str(), given.payload.as_str())),
        });
        Ok(Response::new(AuthenticateResponse {
            access_token: token.await?,
        }))
    }
}
