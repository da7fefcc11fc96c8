//! gRPC server of the module: HTTP/2 on one socket, a table of services, and a wrapper around each call that applies its
//! deadline, sets its context, and confines a panic to it.

use std::{
    any::Any,
    collections::HashMap,
    convert::Infallible,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, body::Body, server::NamedService};

use crate::{
    CONNECTION_WINDOW, MAX_FRAME, SEND_BUFFER, STREAM_WINDOW,
    address::{Listener, Stream},
    call::Scope,
};

type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Type-erased gRPC service, as returned by [`ResourceApi::serve`](crate::ResourceApi::serve).
pub struct Service {
    name: &'static str,
    call: Box<dyn Fn(Request<Incoming>) -> ResponseFuture + Send + Sync>,
}

impl Service {
    /// Wraps a service that tonic generated. Tonic's default limit of a message is 4 MiB; for larger ones set
    /// `.max_decoding_message_size(mainstay_module::MAX_MESSAGE_BYTES)` on it first.
    pub fn new<S>(service: S) -> Self
    where
        S: tower_service::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        // Generated services are always ready, and cloning one clones an `Arc`. Their futures are boxed already, but
        // under no name that could be used here.
        let call = move |request| -> ResponseFuture { Box::pin(service.clone().call(request)) };
        Self {
            name: S::NAME,
            call: Box::new(call),
        }
    }

    /// Returns the full name, for example `viam.component.sensor.v1.SensorService`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// gRPC services of a module by full name.
pub(crate) struct Services(HashMap<&'static str, Service>);

impl FromIterator<Service> for Services {
    fn from_iter<I: IntoIterator<Item = Service>>(services: I) -> Self {
        Self(services.into_iter().map(|service| (service.name, service)).collect())
    }
}

impl Services {
    /// Accepts connections until `stop`, or until none can come any more and the last has ended. Then waits for the running
    /// calls, at most until `abort`.
    pub(crate) async fn serve(self, listener: Listener, stop: CancellationToken, abort: CancellationToken) {
        let (services, connections) = (Arc::new(self), TaskTracker::new());
        loop {
            match stop.run_until_cancelled(listener.accept()).await {
                Some(Ok(Some(stream))) => {
                    let connection = connection(services.clone(), stream, stop.clone());
                    let abort = abort.clone();
                    drop(connections.spawn(async move { abort.run_until_cancelled(connection).await }));
                }
                // Out of file descriptors, mostly; the connections that there are go on.
                Some(Err(error)) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
                Some(Ok(None)) | None => break,
            }
        }
        drop(listener);
        connections.close();
        connections.wait().await;
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<GuardedBody> {
        let scope = Scope::of_call(&request, Instant::now());
        let path = request.uri().path();
        let service = path
            .strip_prefix('/')
            .and_then(|path| path.split_once('/'))
            .map_or(path, |(service, _)| service);
        let Some(service) = self.0.get(service) else {
            let status = Status::unimplemented(format!("this module has no service `{service}`"));
            return GuardedBody::wrap(status.into_http(), scope);
        };
        let work = scope.clone().run(async { (service.call)(request).await });
        let work = AssertUnwindSafe(work).catch_unwind();
        let outcome = match scope.deadline() {
            None => work.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), work).await {
                Ok(outcome) => outcome,
                Err(_) => return GuardedBody::wrap(deadline_exceeded().into_http(), scope),
            },
        };
        let response = match outcome {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => panicked(&*panic).into_http(),
        };
        GuardedBody::wrap(response, scope)
    }
}

async fn connection(services: Arc<Services>, stream: Stream, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let services = services.clone();
        async move { Ok::<_, Infallible>(services.handle(request).await) }
    });
    let connection = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_send_buf_size(SEND_BUFFER)
        // The peer is the core, which has limits of its own; hyper's are made for strangers, and end the connection.
        .max_concurrent_streams(None)
        .max_pending_accept_reset_streams(Some(usize::MAX))
        .max_local_error_reset_streams(None)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A peer that vanishes is the peer's affair.
        tracing::debug!(%error, "connection ended");
    }
}

fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the deadline is over")
}

fn panicked(panic: &(dyn Any + Send)) -> Status {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Status::internal(format!("panic in the module: {}", text.unwrap_or("no text")))
}

/// Response body with the deadline, context and panic guard of its call.
struct GuardedBody {
    body: Body,
    scope: Scope,
    /// Timer of the deadline, created for bodies that have to wait: streams.
    sleep: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl GuardedBody {
    fn wrap(response: Response<Body>, scope: Scope) -> Response<Self> {
        response.map(|body| Self {
            body,
            scope,
            sleep: None,
            ended: false,
        })
    }

    /// Ends the response with this status in its trailers.
    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.ended = true;
        self.body = Body::empty(); // Drops the service's stream at once.
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.scope.deadline() else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        sleep.as_mut().poll(context)
    }
}

impl http_body::Body for GuardedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let (scope, body) = (&this.scope, &mut this.body);
        match catch_unwind(AssertUnwindSafe(|| {
            scope.run_sync(|| Pin::new(body).poll_frame(context))
        })) {
            Ok(Poll::Ready(frame)) => Poll::Ready(frame),
            Ok(Poll::Pending) => {
                ready!(this.poll_deadline(context));
                this.end(&deadline_exceeded())
            }
            Err(panic) => this.end(&panicked(&*panic)),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
