//! The places that traces can go to: files, the log, and a collector that speaks the OpenTelemetry Protocol.

use std::time::Duration;

use http::uri::PathAndQuery;
use mainstay_proto::opentelemetry::proto::trace::v1::{ResourceSpans, Span as Record};
use mainstay_proto::viam::robot::v1::{SendTracesRequest, SendTracesResponse};
use mainstay_runtime::rotating_file::RotatingFile;
use tonic::client::Grpc;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use tracing::{info, warn};

use super::{SinkConfig, json};

/// Largest file of traces, in bytes.
const MAX_SIZE: u64 = 32 << 20;
/// Number of such files.
const KEEP: u32 = 4;
/// Longest time for a collector to take one batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// The one method of the OpenTelemetry Protocol for traces.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Open sinks of traces.
#[derive(Debug, Default)]
pub(super) struct Sinks {
    wanted: SinkConfig,
    files: Option<RotatingFile>,
    collector: Option<Channel>,
    /// Told already, so that a trouble is told once and not once for each batch.
    disk_fails: bool,
    collector_fails: bool,
}

impl Sinks {
    /// Reopens the sinks if others are wanted.
    pub fn changed_to(self, wanted: SinkConfig) -> Self {
        if self.wanted == wanted {
            return self;
        }
        let collector = wanted.collector.as_deref().and_then(|address| match channel(address) {
            Ok(channel) => Some(channel),
            Err(error) => {
                warn!("no traces are sent to `{address}` (`tracing.otlpendpoint`): {error}");
                None
            }
        });
        Self {
            files: wanted.disk.clone().map(|path| RotatingFile::new(path, MAX_SIZE, KEEP)),
            collector,
            wanted,
            ..Self::default()
        }
    }

    /// Our own spans on the console, if they are wanted there.
    pub fn log(&self, spans: &[Record]) {
        if !self.wanted.console {
            return;
        }
        for span in spans {
            let took = Duration::from_nanos(span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano));
            let trace: String = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
            let outcome = span.status.as_ref().map_or("ok", |status| status.message.as_str());
            info!(target: "rdk.tracing", trace, "{} took {took:?}: {outcome}", span.name);
        }
    }

    /// Into the files and to the collector. What fails is told once, and lost.
    pub async fn write(&mut self, spans: Vec<ResourceSpans>) {
        if let Some(mut files) = self.files.take() {
            let line = json::line(&spans);
            let write = tokio::task::spawn_blocking(move || (files.append(&line), files));
            if let Ok((outcome, files)) = write.await {
                self.files = Some(files);
                match outcome {
                    Ok(()) => self.disk_fails = false,
                    Err(error) if !std::mem::replace(&mut self.disk_fails, true) => {
                        let path = self.wanted.disk.clone().unwrap_or_default();
                        warn!(
                            "traces cannot be written to `{}`: {error}; those until it can are lost",
                            path.display()
                        );
                    }
                    Err(_) => {}
                }
            }
        }
        if let Some(channel) = &self.collector {
            match export(channel.clone(), spans).await {
                Ok(()) if std::mem::take(&mut self.collector_fails) => info!("traces reach their collector again"),
                Ok(()) => {}
                Err(status) if !std::mem::replace(&mut self.collector_fails, true) => {
                    let address = self.wanted.collector.as_deref().unwrap_or_default();
                    let code = status.code();
                    let cause = status.message();
                    warn!(
                        "traces do not reach `{address}` (`tracing.otlpendpoint`): {code:?}: {cause}; those until they do are lost"
                    );
                }
                Err(_) => {}
            }
        }
    }
}

/// `localhost:` means cleartext, everything else TLS, as peers have it.
fn channel(address: &str) -> Result<Channel, tonic::transport::Error> {
    let endpoint = if address.starts_with("localhost:") {
        Endpoint::from_shared(format!("http://{address}"))?
    } else {
        let roots = ClientTlsConfig::new().with_native_roots();
        Endpoint::from_shared(format!("https://{address}"))?.tls_config(roots)?
    };
    Ok(endpoint.connect_timeout(PATIENCE).timeout(PATIENCE).connect_lazy())
}

async fn export(channel: Channel, resource_spans: Vec<ResourceSpans>) -> Result<(), Status> {
    let mut client = Grpc::new(channel);
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    // The two requests have one form, field by field; the answers have nothing in common that we would read.
    let request = Request::new(SendTracesRequest { resource_spans });
    let codec: ProstCodec<SendTracesRequest, SendTracesResponse> = ProstCodec::default();
    client
        .unary(request, PathAndQuery::from_static(EXPORT), codec)
        .await
        .map(|_accepted| ())
}
