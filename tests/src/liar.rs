//! Server that other machines take for a robot, and that lists what a test puts into its mouth.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use mainstay_proto::viam::common::v1::ResourceName;
use mainstay_proto::viam::robot::v1::{ResourceNamesRequest, ResourceNamesResponse};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

const NAMES: &str = "/viam.robot.v1.RobotService/ResourceNames";

/// The server, on threads of its own. It answers ResourceNames alone, and ends when this is dropped.
#[derive(Debug)]
pub struct Liar {
    address: SocketAddr,
    says: Says,
    runtime: Option<Runtime>,
}

/// List, and how it is told.
#[derive(Clone, Debug, Default)]
struct Says(Arc<Mutex<Vec<Vec<ResourceName>>>>, Arc<AtomicU64>, Arc<Mutex<Duration>>);

impl Liar {
    /// Starts it on a free port of this host.
    ///
    /// # Panics
    /// There is none.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("ours");
        let address = listener.local_addr().expect("bound");
        let says = Says::default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread");
        let entered = runtime.enter();
        let listener = TcpListener::from_std(listener).expect("it is a socket");
        let _serving = runtime.spawn(
            Server::builder()
                .add_service(says.clone())
                .serve_with_incoming(TcpIncoming::from(listener)),
        );
        drop(entered);
        Self {
            address,
            says,
            runtime: Some(runtime),
        }
    }

    /// Address, `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Lists these from now on, one after the other, round and round.
    ///
    /// # Panics
    /// Never.
    pub fn lists(&self, lists: Vec<Vec<ResourceName>>) {
        *self.says.0.lock().expect("no panics") = lists;
    }

    /// Answers after so long from now on.
    ///
    /// # Panics
    /// Never.
    pub fn takes(&self, delay: Duration) {
        *self.says.2.lock().expect("no panics") = delay;
    }

    /// Number of times that it was asked.
    pub fn asked(&self) -> u64 {
        self.says.1.load(Ordering::Relaxed)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Name of a component there.
pub fn component(subtype: &str, name: &str) -> ResourceName {
    ResourceName {
        namespace: "rdk".into(),
        r#type: "component".into(),
        subtype: subtype.into(),
        name: name.into(),
    }
}

impl NamedService for Says {
    const NAME: &'static str = "viam.robot.v1.RobotService";
}

impl UnaryService<ResourceNamesRequest> for Says {
    type Response = ResourceNamesResponse;
    type Future = BoxFuture<Response<Self::Response>, Status>;

    fn call(&mut self, _: Request<ResourceNamesRequest>) -> Self::Future {
        let Self(lists, asked, delay) = self.clone();
        Box::pin(async move {
            let delay = *delay.lock().expect("no panics");
            tokio::time::sleep(delay).await;
            let turn = asked.fetch_add(1, Ordering::Relaxed);
            let lists = lists.lock().expect("no panics");
            let turn = usize::try_from(turn).unwrap_or_default() % lists.len().max(1);
            let resources = lists.get(turn).cloned().unwrap_or_default();
            Ok(Response::new(ResourceNamesResponse { resources }))
        })
    }
}

impl Service<http::Request<tonic::body::Body>> for Says {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let says = self.clone();
        Box::pin(async move {
            if request.uri().path() != NAMES {
                return Ok(Status::unimplemented("only names are told here").into_http());
            }
            let codec: ProstCodec<ResourceNamesResponse, ResourceNamesRequest> = ProstCodec::default();
            Ok(Grpc::new(codec).unary(says, request).await)
        })
    }
}
