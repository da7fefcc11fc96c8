//! The resource listing of another machine: followed where it tells changes by itself, else asked at intervals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::remote::Listed;
use mainstay_proto::mainstay::remote::v1::remote_service_client::RemoteServiceClient;
use mainstay_proto::mainstay::remote::v1::{WatchRequest, WatchResponse};
use mainstay_proto::methods;
use mainstay_proto::viam::robot::v1::robot_service_client::RobotServiceClient;
use mainstay_proto::viam::robot::v1::{ResourceNamesRequest, ResourceRpcSubtypesRequest};
use mainstay_proto::{Api, ResourceName};
use mainstay_proxy::upstream::Upstream;
use tonic::{Code, Status, Streaming};
use tracing::debug;

use super::{RemoteApi, within};
use crate::module::reflect::reflect;

/// Largest list that is read, in bytes: many times what [`MAX_IMPORTS`](mainstay_core::remote::MAX_IMPORTS) names take.
const MAX_LIST: usize = 8 << 20;

/// Source of the list of one connection.
pub(super) enum Listing {
    /// It tells by itself.
    Watched(Box<Streaming<WatchResponse>>),
    /// It has to be asked.
    Polled,
}

impl Listing {
    /// Asks for the first list, in the better of both ways.
    pub(super) async fn open(upstream: &Upstream) -> Result<(Self, Vec<Listed>), Status> {
        let mut client = RemoteServiceClient::new(upstream.clone()).max_decoding_message_size(MAX_LIST);
        let watched = within(async {
            let mut stream = client.watch(WatchRequest {}).await?.into_inner();
            let first = stream.message().await?;
            let first = first.ok_or_else(|| Status::unimplemented("it tells nothing"))?;
            Ok((stream, first))
        });
        match watched.await {
            Ok((stream, first)) => Ok((Self::Watched(Box::new(stream)), told(first))),
            Err(status) if status.code() == Code::Unimplemented => Ok((Self::Polled, ask(upstream).await?)),
            Err(status) => Err(status),
        }
    }

    /// The next list, when the other machine tells one, or after `interval`; and this, to go on with. To be polled to its end:
    /// begun anew with every other event it would never get there.
    pub(super) async fn next(mut self, upstream: Upstream, interval: Duration) -> (Self, Result<Vec<Listed>, Status>) {
        let list = self.wait(&upstream, interval).await;
        (self, list)
    }

    async fn wait(&mut self, upstream: &Upstream, interval: Duration) -> Result<Vec<Listed>, Status> {
        match self {
            Self::Watched(stream) => match stream.message().await? {
                Some(list) => Ok(told(list)),
                None => Err(Status::unavailable("it ended its list")),
            },
            Self::Polled => {
                tokio::time::sleep(interval).await;
                let mut last = Status::unavailable("");
                for _ in 0..3 {
                    match ask(upstream).await {
                        // It is busy, and there.
                        Err(status) if status.code() == Code::ResourceExhausted => tokio::time::sleep(interval).await,
                        Err(status) if status.code() == Code::Unauthenticated => return Err(status),
                        Err(status) => last = status,
                        Ok(list) => return Ok(list),
                    }
                }
                Err(last)
            }
        }
    }
}

fn told(list: WatchResponse) -> Vec<Listed> {
    let listed = list.resources.into_iter().filter_map(|resource| {
        Some(Listed {
            name: readable(resource.name?)?,
            machines: resource.machines.into(),
        })
    });
    listed.collect()
}

async fn ask(upstream: &Upstream) -> Result<Vec<Listed>, Status> {
    let mut client = RobotServiceClient::new(upstream.clone()).max_decoding_message_size(MAX_LIST);
    let answer = within(client.resource_names(ResourceNamesRequest {})).await?;
    let listed = answer.into_inner().resources.into_iter().filter_map(|name| {
        Some(Listed {
            name: readable(name)?,
            machines: Arc::default(),
        })
    });
    Ok(listed.collect())
}

/// A name whose API can be read; internal ones and machines are none.
fn readable(name: mainstay_proto::viam::common::v1::ResourceName) -> Option<ResourceName> {
    let api = Api::new(&name.namespace, &name.r#type, &name.subtype).ok()?;
    Some(ResourceName { api, name: name.name })
}

/// APIs of these resources that are none of ours, with the services and descriptors that the other machine tells.
pub(super) async fn apis(upstream: &Upstream, listed: &[Listed], known: &[RemoteApi]) -> Vec<RemoteApi> {
    let unknown: BTreeSet<&Api> = listed
        .iter()
        .map(|listed| &listed.name.api)
        .filter(|api| methods::service_of_api(api).is_none())
        .collect();
    if unknown.iter().all(|api| known.iter().any(|known| known.api == **api)) {
        return known.to_vec();
    }
    let mut client = RobotServiceClient::new(upstream.clone()).max_decoding_message_size(MAX_LIST);
    let rows = match within(client.resource_rpc_subtypes(ResourceRpcSubtypesRequest {})).await {
        Ok(answer) => answer.into_inner().resource_rpc_subtypes,
        Err(status) => {
            debug!("a remote does not tell its services: {}", status.message());
            Vec::new()
        }
    };
    let mut services: BTreeMap<Api, String> = BTreeMap::new();
    for row in rows {
        let Some(name) = row.subtype else { continue };
        if let Ok(api) = Api::new(&name.namespace, &name.r#type, &name.subtype)
            && unknown.contains(&api)
        {
            services.entry(api).or_insert(row.proto_service);
        }
    }
    let names: Vec<String> = services.values().cloned().collect();
    let described = reflect(upstream, &names).await;
    let apis = services.into_iter().zip(described).map(|((api, service), described)| {
        let custom = match described {
            Ok(custom) => Some(Arc::new(custom)),
            Err(error) => {
                debug!(service, "a remote does not describe it: {error}");
                None
            }
        };
        RemoteApi { api, service, custom }
    });
    apis.collect()
}
