//! A client reaches a local port of the machine's host through the machine, if the config opens it.

use std::time::Duration;

use mainstay_proto::viam::robot::v1::robot_service_client::RobotServiceClient;
use mainstay_proto::viam::robot::v1::{ListTunnelsRequest, TunnelRequest};
use mainstay_tests::machine::Machine;
use mainstay_tests::rpc;
use mainstay_tests::world::World;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::iter;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

async fn world(ports: &[u16]) -> World {
    let endpoints: Vec<_> = ports
        .iter()
        .map(|port| json!({ "port": port, "connection_timeout": "2s" }))
        .collect();
    let network = json!({ "bind_address": "127.0.0.1:0", "traffic_tunnel_endpoints": endpoints });
    World::settled(Machine::new().set("network", network)).await
}

fn first(port: u16) -> TunnelRequest {
    TunnelRequest {
        destination_port: port.into(),
        data: "dropped".into(),
    }
}

fn data(bytes: Vec<u8>) -> TunnelRequest {
    TunnelRequest {
        destination_port: 0,
        data: bytes.into(),
    }
}

#[tokio::test]
async fn bytes_go_both_ways_at_once_until_one_side_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let world = world(&[port]).await;
    let mut robot = RobotServiceClient::new(world.channel());
    let listed = robot
        .list_tunnels(ListTunnelsRequest {})
        .await
        .expect("a list")
        .into_inner()
        .tunnels;
    let timeout = listed[0].connection_timeout.expect("set");
    assert_eq!((listed[0].port, timeout.seconds), (u32::from(port), 2));

    // A server that sends back what it hears while it hears more: nothing of it fits into any buffer.
    let server = async {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (mut reader, mut writer) = stream.into_split();
        tokio::io::copy(&mut reader, &mut writer).await.expect("echoed")
    };
    let client = async {
        let (send, requests) = mpsc::channel(1);
        let opened = async {
            send.send(first(port)).await.expect("open");
            robot
                .tunnel(ReceiverStream::new(requests))
                .await
                .expect("a tunnel")
                .into_inner()
        };
        let mut answers = opened.await;
        let whole: Vec<u8> = (0..8_000_000_u32).map(|number| (number % 251) as u8).collect();
        let upload = async {
            for chunk in whole.chunks(100_000) {
                send.send(data(chunk.to_vec())).await.expect("open");
            }
            send
        };
        let download = async {
            let mut heard = Vec::new();
            while heard.len() < whole.len() {
                heard.extend(answers.message().await.expect("bytes").expect("more").data);
            }
            heard
        };
        let (send, heard) = tokio::join!(upload, download);
        assert!(heard == whole);
        // Our end ends theirs.
        drop(send);
        assert!(answers.message().await.expect("no error").is_none());
    };
    let (echoed, ()) = tokio::join!(server, client);
    assert_eq!(echoed, 8_000_000);
}

#[tokio::test]
async fn a_port_that_closes_ends_the_tunnel_and_one_that_is_not_opened_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let closed = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        free.local_addr().expect("bound").port()
    };
    let world = world(&[port, closed]).await;
    let mut robot = RobotServiceClient::new(world.channel());
    for (wanted, text) in [
        (1, "tunnel not available at port 1".to_owned()),
        (
            closed,
            format!("failed to dial to destination port {closed}: Connection refused (os error 111)"),
        ),
    ] {
        let refused = robot.tunnel(iter([first(wanted)])).await.expect_err("refused");
        assert_eq!(rpc::code_and_text(&refused), (Code::Unknown, text.as_str()));
    }
    let (send, requests) = mpsc::channel(1);
    send.send(first(port)).await.expect("open");
    let (answers, accepted) = tokio::join!(robot.tunnel(ReceiverStream::new(requests)), listener.accept());
    let (mut answers, (mut stream, _)) = (answers.expect("a tunnel").into_inner(), accepted.expect("a connection"));
    stream.write_all(b"last words").await.expect("written");
    drop(stream);
    let told = answers.message().await.expect("bytes").expect("some").data;
    assert_eq!(&told[..], b"last words");
    assert!(answers.message().await.expect("no error").is_none());

    // A client that goes takes its connection along.
    let (send, requests) = mpsc::channel(1);
    send.send(first(port)).await.expect("open");
    let (answers, accepted) = tokio::join!(robot.tunnel(ReceiverStream::new(requests)), listener.accept());
    let (mut stream, _) = accepted.expect("a connection");
    drop((answers, send));
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest));
    read.await.expect("it ends").map_or_else(drop, drop);
}

#[tokio::test]
async fn the_command_line_leads_a_port_here_to_one_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let world = world(&[port]).await;
    assert_eq!(world.cli(&["tunnel"]).await.stdout.trim(), port.to_string());
    let refused = world.cli(&["tunnel", "1"]).await;
    assert!(
        refused.code == 1 && refused.stderr.contains("the machine opens no port 1"),
        "{refused:?}"
    );
    let mut tunnel = world.start_cli(&["tunnel", &format!("0:{port}"), "--address", world.address()]);
    let told = {
        use std::io::{BufRead as _, BufReader};
        let mut line = String::new();
        BufReader::new(tunnel.stderr.take().expect("piped"))
            .read_line(&mut line)
            .expect("a line");
        line
    };
    let here = told.split_whitespace().next().expect("an address").to_owned();
    let echo = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.expect("bytes");
        stream.write_all(&heard).await.expect("written");
    };
    let client = async {
        let mut stream = tokio::net::TcpStream::connect(&here).await.expect("it listens");
        stream.write_all(b"hello").await.expect("written");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.expect("the end");
        assert_eq!(heard, b"hello");
    };
    tokio::join!(echo, client);
    tunnel.kill().expect("it lives");
    tunnel.wait().expect("it ends");
}
