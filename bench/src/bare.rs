//! Bare proxy that only copies bytes between a TCP port and the module's socket: the cost of any second process on this
//! machine, and so the lower bound for the core.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Failure;

/// Size of the copy buffer in bytes.
const CHUNK: usize = 256 << 10;

/// Serves one connection to its end, in this thread. The port is printed first.
pub fn serve(socket: &Path) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (mut caller, _) = listener.accept()?;
    caller.set_nodelay(true)?;
    let mut module = UnixStream::connect(socket)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let mut waits = [
            PollFd::new(caller.as_fd(), PollFlags::POLLIN),
            PollFd::new(module.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut waits, PollTimeout::NONE)?;
        let [from_caller, from_module] = waits.map(|wait| wait.any().unwrap_or_default());
        if from_caller && !copy(&mut caller, &mut module, &mut chunk)? {
            return Ok(());
        }
        if from_module && !copy(&mut module, &mut caller, &mut chunk)? {
            return Ok(());
        }
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write, chunk: &mut [u8]) -> Result<bool, Failure> {
    let length = from.read(chunk)?;
    to.write_all(&chunk[..length])?;
    Ok(length > 0)
}

/// Running proxy process, killed on drop.
pub struct Bare {
    process: Child,
    /// Address that it listens on.
    pub address: String,
}

impl Bare {
    /// Starts this program again, as a proxy in front of `socket`.
    pub async fn start(socket: &Path) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("--bare-proxy")
            .arg(socket)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        #[expect(clippy::disallowed_methods, reason = "it is killed when dropped")]
        let mut process = command.spawn()?;
        let output = process.stdout.take().ok_or("the proxy's output is not there")?;
        let address = BufReader::new(output).lines().next_line().await?;
        Ok(Self {
            process,
            address: address.ok_or("the proxy does not listen")?,
        })
    }

    /// Process id of the proxy.
    pub fn pid(&self) -> Result<u32, Failure> {
        Ok(self.process.id().ok_or("the proxy has ended")?)
    }
}
