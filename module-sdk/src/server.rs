//! The module's server: HTTP/2 on one socket, a table of gRPC services, and around each call what every call gets:
//! its deadline, what it passes on, and the certainty that a panic ends it alone.

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

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// A gRPC service, whatever its type.
pub struct Service {
    name: &'static str,
    call: Box<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>,
}

impl Service {
    /// Takes any service that tonic generated. Its limits are its own: tonic's default for a message is 4 MiB, so
    /// an API that carries more wants `.max_decoding_message_size(mainstay_module::MAX_MESSAGE)`.
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
        let call = move |request| -> Answer { Box::pin(service.clone().call(request)) };
        Self {
            name: S::NAME,
            call: Box::new(call),
        }
    }

    /// The full name, for example `viam.component.sensor.v1.SensorService`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The services of a module by name.
pub(crate) struct Services(HashMap<&'static str, Service>);

impl FromIterator<Service> for Services {
    fn from_iter<I: IntoIterator<Item = Service>>(services: I) -> Self {
        Self(services.into_iter().map(|service| (service.name, service)).collect())
    }
}

impl Services {
    /// Serves until `stop`, or until no connection can come any more and the last has ended. Then lets the running calls end,
    /// until `abort`.
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

    async fn answer(&self, request: Request<Incoming>) -> Response<Guarded> {
        let scope = Scope::of_call(request.headers(), Instant::now());
        let path = request.uri().path();
        let service = path
            .strip_prefix('/')
            .and_then(|path| path.split_once('/'))
            .map_or(path, |(service, _)| service);
        let Some(service) = self.0.get(service) else {
            let status = Status::unimplemented(format!("this module has no service `{service}`"));
            return Guarded::around(status.into_http(), scope);
        };
        let work = scope.clone().run(async { (service.call)(request).await });
        let work = AssertUnwindSafe(work).catch_unwind();
        let answer = match scope.deadline() {
            None => work.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), work).await {
                Ok(answer) => answer,
                Err(_) => return Guarded::around(late().into_http(), scope),
            },
        };
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => panicked(&*panic).into_http(),
        };
        Guarded::around(response, scope)
    }
}

async fn connection(services: Arc<Services>, stream: Stream, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let services = services.clone();
        async move { Ok::<_, Infallible>(services.answer(request).await) }
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

fn late() -> Status {
    Status::deadline_exceeded("the deadline is over")
}

fn panicked(panic: &(dyn Any + Send)) -> Status {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Status::internal(format!("panic in the module: {}", text.unwrap_or("no text")))
}

/// An answer on its way out, under the same guard as the call that made it.
struct Guarded {
    body: Body,
    scope: Scope,
    /// Only for answers that keep their caller waiting: a stream.
    sleep: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl Guarded {
    fn around(response: Response<Body>, scope: Scope) -> Response<Self> {
        response.map(|body| Self {
            body,
            scope,
            sleep: None,
            over: false,
        })
    }

    /// Ends the answer with this status.
    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.over = true;
        self.body = Body::empty(); // What made the answer is dropped at once.
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.scope.deadline() else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        sleep.as_mut().poll(context)
    }
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        let (scope, body) = (&this.scope, &mut this.body);
        match catch_unwind(AssertUnwindSafe(|| {
            scope.run_sync(|| Pin::new(body).poll_frame(context))
        })) {
            Ok(Poll::Ready(frame)) => Poll::Ready(frame),
            Ok(Poll::Pending) => {
                ready!(this.poll_late(context));
                this.end(&late())
            }
            Err(panic) => this.end(&panicked(&*panic)),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
