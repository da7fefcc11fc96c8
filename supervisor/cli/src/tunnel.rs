//! `mainstay tunnel`: a port of this host that leads to a port of the machine's.

use std::str::FromStr;

use mainstay_proto::viam::robot::v1::robot_service_client::RobotServiceClient;
use mainstay_proto::viam::robot::v1::{ListTunnelsRequest, Tunnel, TunnelRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::connection::MachineConnection;
use crate::failure::{CliError, Exit};
use crate::output::{note, print};
use crate::selector::MachineSelector;
use crate::target;

/// Most bytes that are read from a connection at once.
const CHUNK: usize = 64 << 10;

/// Arguments of `mainstay tunnel`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay tunnel --address rover:8080             the ports that the machine opens for clients
  mainstay tunnel 2222:22 --address rover:8080     port 2222 here is port 22 there, until Ctrl-C

The machine's config lists the ports: network.traffic_tunnel_endpoints: [{port: 22}]")]
pub struct Arguments {
    /// The port there, or the one here and the one there; leave it out to list them
    #[arg(value_name = "[LOCAL:]PORT")]
    ports: Option<Ports>,
    #[command(flatten)]
    selector: MachineSelector,
}

/// Both ends of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ports {
    here: u16,
    there: u16,
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| {
            text.parse()
                .map_err(|_| format!("`{text}` is no port: write 22, or 2222:22"))
        };
        let (here, there) = text.split_once(':').unwrap_or((text, text));
        Ok(Self {
            here: port(here)?,
            there: port(there)?,
        })
    }
}

/// Runs the verb.
///
/// # Errors
/// No machine (3), a port that cannot be had here, or that the machine does not open (1).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let target = target::find(&arguments.selector).await?;
    let mut robot = target.connection.robot();
    let open = robot.list_tunnels(ListTunnelsRequest {}).await?.into_inner().tunnels;
    let Some(ports) = arguments.ports else {
        return list(&open).map(|()| Exit::Done);
    };
    if open.iter().all(|tunnel| tunnel.port != u32::from(ports.there)) {
        let known: Vec<_> = open.iter().map(|tunnel| tunnel.port.to_string()).collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        return Err(CliError::wrong(format!(
            "the machine opens no port {} (it opens {known}); `network.traffic_tunnel_endpoints: [{{port: {}}}]` in its config does",
            ports.there, ports.there
        )));
    }
    let listener = TcpListener::bind(("127.0.0.1", ports.here)).await;
    let listener =
        listener.map_err(|error| CliError::wrong(format!("port {} cannot be had here: {error}", ports.here)))?;
    let here = listener.local_addr().map_or(ports.here, |address| address.port());
    note(&format!(
        "127.0.0.1:{here} leads to port {} of the machine, until Ctrl-C",
        ports.there
    ));
    tokio::select! {
        () = serve(&listener, &robot, ports.there) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(Exit::Done)
}

fn list(open: &[Tunnel]) -> Result<(), CliError> {
    if open.is_empty() {
        return print("no ports: `network.traffic_tunnel_endpoints` in the machine's config opens some\n");
    }
    let lines: Vec<_> = open.iter().map(|tunnel| format!("{}\n", tunnel.port)).collect();
    print(&lines.concat())
}

async fn serve(listener: &TcpListener, robot: &RobotServiceClient<MachineConnection>, port: u16) {
    let mut tunnels = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let robot = robot.clone();
                    tunnels.spawn(async move {
                        if let Err(status) = tunnel(stream, robot, port).await {
                            note(&format!("{peer}: {}", status.message()));
                        }
                    });
                }
                Err(error) => note(&format!("cannot accept a connection: {error}")),
            },
            Some(_ended) = tunnels.join_next() => {}
        }
    }
}

/// One connection, until either side ends it.
async fn tunnel(stream: TcpStream, mut robot: RobotServiceClient<MachineConnection>, port: u16) -> Result<(), Status> {
    let (reader, mut writer) = stream.into_split();
    let (sender, requests) = mpsc::channel(1);
    let first = TunnelRequest {
        destination_port: port.into(),
        ..TunnelRequest::default()
    };
    // A channel that was just made has room.
    let _queued = sender.try_send(first);
    let mut answers = robot.tunnel(ReceiverStream::new(requests)).await?.into_inner();
    let download = async {
        while let Some(answer) = answers.message().await? {
            if writer.write_all(&answer.data).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = download => ended,
        () = upload(reader, sender) => Ok(()),
    }
}

async fn upload(mut reader: OwnedReadHalf, requests: mpsc::Sender<TunnelRequest>) {
    let mut buffer = bytes::BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let request = TunnelRequest {
                    destination_port: 0,
                    data: buffer.split().freeze(),
                };
                if requests.send(request).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_stands_for_both_ends() {
        let ports = |here, there| Ok(Ports { here, there });
        assert_eq!("22".parse(), ports(22, 22));
        assert_eq!("2222:22".parse(), ports(2222, 22));
        for bad in ["", "a", "1:b", "70000", "1:2:3"] {
            assert!(bad.parse::<Ports>().is_err(), "{bad}");
        }
    }
}
