//! Credentials of a caller, and what they are exchanged for.

use std::error::Error;
use std::fmt;

use bytes::Bytes;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use http_body::Body as HttpBody;
use mainstay_proto::proto::rpc::v1::auth_service_client::AuthServiceClient;
use mainstay_proto::proto::rpc::v1::{self as wire, AuthenticateRequest};
use tonic::Status;
use tonic::body::Body;
use tonic::client::GrpcService;

/// Credentials that another machine exchanges for a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Id of an API key, or the name of the machine that a secret belongs to.
    pub entity: String,
    /// Type, such as `api-key`.
    pub kind: String,
    /// The secret.
    pub payload: String,
}

impl Credentials {
    /// Credentials of an API key.
    #[must_use]
    pub fn api_key(id: &str, key: &str) -> Self {
        Self {
            entity: id.to_owned(),
            kind: "api-key".to_owned(),
            payload: key.to_owned(),
        }
    }

    /// Shows them over `service`, a connection whose calls carry no other proof, and returns the value of the header
    /// `authorization` for all calls from then on.
    ///
    /// # Errors
    /// The status of the other machine: UNAUTHENTICATED if it does not take them, UNIMPLEMENTED if it asks nobody.
    pub async fn exchange<T>(&self, service: T) -> Result<HeaderValue, Status>
    where
        T: GrpcService<Body>,
        T::Error: Into<Box<dyn Error + Send + Sync>>,
        T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
        <T::ResponseBody as HttpBody>::Error: Into<Box<dyn Error + Send + Sync>> + Send,
    {
        let request = AuthenticateRequest {
            entity: self.entity.clone(),
            credentials: Some(wire::Credentials {
                r#type: self.kind.clone(),
                payload: self.payload.clone(),
            }),
        };
        let answer = AuthServiceClient::new(service).authenticate(request).await?;
        bearer(&answer.into_inner().access_token)
            .map_err(|_| Status::internal("it gave a token that no header can carry"))
    }
}

impl fmt::Debug for Credentials {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("entity", &self.entity)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Value of the header `authorization` for a token, which no log shows.
///
/// # Errors
/// The token has characters that no header can carry.
pub fn bearer(token: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let credentials = Credentials::api_key("me", "hunter2");
        assert!(!format!("{credentials:?} {:?}", bearer("hunter2").unwrap()).contains("hunter2"));
        assert!(bearer("a\nb").is_err());
    }
}
