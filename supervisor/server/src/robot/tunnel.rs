//! Tunnels: a client's stream to a local port that the config opens for it.

use std::pin::Pin;
use std::time::Duration;

use bytes::BytesMut;
use futures_core::Stream;
use futures_util::stream::unfold;
use mainstay_model::Tunnel;
use mainstay_proto::viam::robot::v1 as pb;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tonic::{Status, Streaming};

/// Longest wait for the port to answer, where the config says nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes that are read from the port at once.
const CHUNK: usize = 64 << 10;

/// Answers of a tunnel.
pub type TunnelStream = Pin<Box<dyn Stream<Item = Result<pb::TunnelResponse, Status>> + Send>>;

/// Tunnels of the config, as clients are told of them.
pub fn list(tunnels: &[Tunnel]) -> Vec<pb::Tunnel> {
    let list = tunnels.iter().map(|tunnel| pb::Tunnel {
        port: tunnel.port.into(),
        connection_timeout: tunnel.connection_timeout.try_into().ok(),
    });
    list.collect()
}

/// Tunnel that is open. Both directions move as the answers are polled, so it needs no task and ends with its call.
struct OpenTunnel {
    /// Passes on what the client sends, until it ends its side.
    upload: Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>,
    reader: OwnedReadHalf,
    buffer: BytesMut,
    ended: bool,
}

/// Opens the tunnel that the first message asks for. It ends when the client ends its side, when the port closes, or with the
/// call.
pub async fn open(mut requests: Streaming<pb::TunnelRequest>, tunnels: &[Tunnel]) -> Result<TunnelStream, Status> {
    let first = requests.message().await?;
    let port = first.map(|first| first.destination_port).unwrap_or_default();
    let tunnel = tunnels
        .iter()
        .find(|tunnel| u32::from(tunnel.port) == port)
        .ok_or_else(|| Status::unknown(format!("tunnel not available at port {port}")))?;
    let limit = match tunnel.connection_timeout {
        Duration::ZERO => CONNECT_TIMEOUT,
        limit => limit,
    };
    let failed = |cause: String| Status::unknown(format!("failed to dial to destination port {port}: {cause}"));
    let connected = tokio::time::timeout(limit, TcpStream::connect(("127.0.0.1", tunnel.port))).await;
    let stream = connected
        .map_err(|_| failed(format!("no answer within {limit:?}")))?
        .map_err(|error| failed(error.to_string()))?;
    // What a terminal types must not wait for more.
    stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
    let (reader, writer) = stream.into_split();
    let tunnel = OpenTunnel {
        upload: Box::pin(upload(requests, writer)),
        reader,
        buffer: BytesMut::new(),
        ended: false,
    };
    Ok(Box::pin(unfold(tunnel, OpenTunnel::next)))
}

async fn upload(mut requests: Streaming<pb::TunnelRequest>, mut writer: OwnedWriteHalf) -> Result<(), Status> {
    while let Some(request) = requests.message().await? {
        let written = writer.write_all(&request.data).await;
        written.map_err(|error| Status::unknown(format!("receiver/writer loop err: {error}")))?;
    }
    Ok(())
}

impl OpenTunnel {
    /// The next bytes for the client; `None` at the end.
    async fn next(mut self) -> Option<(Result<pb::TunnelResponse, Status>, Self)> {
        if self.ended {
            return None;
        }
        self.buffer.reserve(CHUNK);
        let read = tokio::select! {
            ended = &mut self.upload => {
                self.ended = true;
                return ended.err().map(|status| (Err(status), self));
            }
            read = self.reader.read_buf(&mut self.buffer) => read,
        };
        let answer = match read {
            Ok(0) => return None,
            Ok(_) => Ok(pb::TunnelResponse {
                data: self.buffer.split().freeze(),
            }),
            Err(error) => {
                self.ended = true;
                Err(Status::unknown(format!("reader/sender loop err: {error}")))
            }
        };
        Some((answer, self))
    }
}
