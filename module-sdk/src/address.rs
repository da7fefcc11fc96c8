//! Address of a peer: a UNIX socket, a TCP port, or a socket that the process was started with.

use std::{
    fmt, io,
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use hyperlocal::{UnixConnector, UnixStream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener},
};
use tower_service::Service;

/// Address of a peer or listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    /// Host and port, as `host:port`.
    Tcp(String),
    /// `-`: standard input is one end of a connected socket, and nobody else can connect.
    Stdin,
}

/// Longest path of a socket on Linux, in bytes.
const MAX_SOCKET_PATH: usize = 107;

/// Connection of either kind.
pub(crate) type Stream = Pin<Box<dyn ReadWrite>>;

pub(crate) trait ReadWrite: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> ReadWrite for T {}

impl Address {
    /// Text that stands for standard input.
    pub(crate) const STDIN: &str = "-";

    /// Parses an address. As in every peer, text with a port at its end and no `/` is a TCP address.
    pub(crate) fn parse(text: &str) -> Self {
        if text == Self::STDIN {
            return Self::Stdin;
        }
        let port = text.rsplit_once(':').map(|(_, port)| port);
        let is_port = port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        if is_port && !text.contains('/') {
            Self::Tcp(text.to_owned())
        } else {
            let path = text
                .strip_prefix("unix://")
                .or_else(|| text.strip_prefix("unix:"))
                .unwrap_or(text);
            Self::Unix(path.into())
        }
    }

    pub(crate) async fn dial(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Unix(path) => Box::pin(dial_unix(path).await?),
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::pin(stream)
            }
            Self::Stdin => return Err(io::ErrorKind::Unsupported.into()),
        })
    }

    /// Binds a listener. Replaces a socket file that an earlier process left behind; only this user may connect.
    pub(crate) async fn listen(&self) -> io::Result<Listener> {
        Ok(match self {
            Self::Unix(path) => {
                if std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
                    std::fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
                Listener::Unix(listener, path.clone())
            }
            Self::Tcp(address) => Listener::Tcp(TcpListener::bind(address).await?),
            Self::Stdin => {
                let socket = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
                socket.peer_addr()?;
                socket.set_nonblocking(true)?;
                let stream: Stream = Box::pin(tokio::net::UnixStream::from_std(socket)?);
                Listener::One(Mutex::new(Some(stream)))
            }
        })
    }
}

async fn dial_unix(path: &Path) -> io::Result<UnixStream> {
    // The connector's URI panics on a path that makes none.
    if !(1..=MAX_SOCKET_PATH).contains(&path.as_os_str().len()) {
        let text = format!("the path of a socket has 1 to {MAX_SOCKET_PATH} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    UnixConnector.call(hyperlocal::Uri::new(path, "/").into()).await
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
            Self::Stdin => f.write_str("standard input, which must be a connected UNIX socket"),
        }
    }
}

/// Listener that removes its socket file when it is dropped.
pub(crate) enum Listener {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener),
    /// A connection that was there from the start, until it is taken.
    One(Mutex<Option<Stream>>),
}

impl Listener {
    /// The next connection. `None`: no other will come.
    pub(crate) async fn accept(&self) -> io::Result<Option<Stream>> {
        Ok(Some(match self {
            Self::One(stream) => return Ok(stream.lock().unwrap_or_else(PoisonError::into_inner).take()),
            Self::Unix(listener, _) => Box::pin(listener.accept().await?.0),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Box::pin(stream)
            }
        }))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Gone already is just as well.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_known_by_its_shape() {
        for (text, address) in [
            ("/tmp/m.sock", Address::Unix("/tmp/m.sock".into())),
            ("unix:/tmp/m.sock", Address::Unix("/tmp/m.sock".into())),
            ("unix:///tmp/m.sock", Address::Unix("/tmp/m.sock".into())),
            ("/tmp/odd:80", Address::Unix("/tmp/odd:80".into())),
            ("m.sock", Address::Unix("m.sock".into())),
            ("127.0.0.1:5000", Address::Tcp("127.0.0.1:5000".into())),
            ("[::1]:5000", Address::Tcp("[::1]:5000".into())),
            ("localhost:", Address::Unix("localhost:".into())),
            ("-", Address::Stdin),
            ("./-", Address::Unix("./-".into())),
        ] {
            assert_eq!(Address::parse(text), address, "{text}");
        }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_used_one_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let address = Address::Unix(path.clone());
        let listener = address.listen().await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (dialled, accepted) = tokio::join!(address.dial(), listener.accept());
        assert!(dialled.is_ok() && accepted.is_ok());
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_path_that_is_no_socket_is_an_error() {
        for (path, kind) in [
            (String::new(), io::ErrorKind::InvalidInput),
            ("/x".repeat(40_000), io::ErrorKind::InvalidInput),
            ("/nothing/here".to_owned(), io::ErrorKind::NotFound),
        ] {
            let error = Address::Unix(path.into()).dial().await.err().unwrap();
            assert_eq!(error.kind(), kind, "{error}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        std::fs::write(&path, "x").unwrap();
        assert!(Address::Unix(path.clone()).listen().await.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"x");
    }
}
