//! Listening sockets: of TCP or Unix, opened here or passed on by systemd; and how each is closed.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::socket::{Peer, Socket};

/// The number of connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;
/// The maximum number of connections that are taken when the socket is closed: what the kernel holds ready, not a flood.
const MAX_LAST: usize = 4096;

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    closing: Closing,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What the end of listening takes.
#[derive(Debug)]
enum Closing {
    /// The socket is this process's alone.
    Close,
    /// So is its file, which is removed first.
    Remove(SocketFile),
    /// Another process has it, too, and will pass it to the next server: what nobody accepts waits for that one.
    Leave,
}

/// A Unix socket that can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A process accepts connections at the path.
    #[error("another process listens there")]
    InUse,
    /// What is at the path is not removed: it may be somebody's data.
    #[error("there is a file that is no socket")]
    NoSocket,
    /// The operating system refuses.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self { kind: Kind::Tcp(listener), closing: Closing::Close }
    }
}

impl Listener {
    /// Listens on a Unix socket whose file has these permissions. A file that a dead process left is replaced; the file is
    /// removed when listening ends.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn unix(path: &Path, mode: u32) -> Result<Self, ListenError> {
        remove_stale(path)?;
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.bind(&socket2::SockAddr::unix(path)?) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(ListenError::InUse),
            bound => bound?,
        }
        let file = SocketFile::of(path)?;
        // Nobody can connect before it listens, so nobody can by wider permissions than these.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        socket.listen(BACKLOG)?;
        let listener = UnixListener::from_std(StdUnixListener::from(socket))?;
        Ok(Self { kind: Kind::Unix(listener), closing: Closing::Remove(file) })
    }

    /// Takes a TCP socket that was passed on.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn passed_tcp(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { kind: Kind::Tcp(TcpListener::from_std(listener)?), closing: Closing::Leave })
    }

    /// Takes a Unix socket that was passed on.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn passed_unix(listener: StdUnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { kind: Kind::Unix(UnixListener::from_std(listener)?), closing: Closing::Leave })
    }

    /// Returns the address of TCP; `None` for a Unix socket.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Unix(_) => None,
        }
    }

    /// Returns the address as a text: `127.0.0.1:3001`, `unix:/run/mcp.sock`.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.kind {
            Kind::Tcp(listener) => listener.local_addr().map(|address| address.to_string()),
            Kind::Unix(listener) => listener.local_addr().map(|address| {
                address.as_pathname().map_or("unix".to_owned(), |path| format!("unix:{}", path.display()))
            }),
        }
        .unwrap_or_default()
    }

    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, Peer)>> {
        match &self.kind {
            Kind::Tcp(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| (Socket::Tcp(stream), Peer::Address(peer)))
            }
            Kind::Unix(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, _)| (Socket::Unix(stream), Peer::Unix))
            }
        }
    }

    /// Passes the connections that the kernel has ready to `take`, and closes the socket, which resets all others. The kernel
    /// is asked directly: tokio learns of a connection only once its reactor has run.
    pub(crate) fn take_last(self, mut take: impl FnMut(Socket, Peer)) {
        match (&self.kind, self.closing) {
            (Kind::Tcp(listener), Closing::Close) => ignore_handshakes(listener),
            // Without its file nobody finds the socket any more, and a connection is either ready or refused.
            (_, Closing::Remove(file)) => drop(file),
            // A filter would stay, for the next server; and so would what is not accepted here.
            (_, Closing::Close | Closing::Leave) => {}
        }
        let _ = match self.kind {
            Kind::Tcp(listener) => listener.into_std().map(|listener| take_last_tcp(&listener, &mut take)),
            Kind::Unix(listener) => listener.into_std().map(|listener| take_last_unix(&listener, &mut take)),
        };
    }
}

fn take_last_tcp(listener: &std::net::TcpListener, take: &mut impl FnMut(Socket, Peer)) {
    for _ in 0..MAX_LAST {
        let Ok((stream, peer)) = listener.accept() else {
            return;
        };
        if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
            take(Socket::Tcp(stream), Peer::Address(peer));
        }
    }
}

fn take_last_unix(listener: &StdUnixListener, take: &mut impl FnMut(Socket, Peer)) {
    for _ in 0..MAX_LAST {
        let Ok((stream, _)) = listener.accept() else {
            return;
        };
        if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream)) {
            take(Socket::Unix(stream), Peer::Unix);
        }
    }
}

/// Has the kernel drop the handshakes that begin from now on, with a packet filter that accepts nothing. Otherwise one that
/// completes between the last `accept` and the end of the socket would be reset, and a proxy answers 502 for what it had
/// sent; so it sends its first packet again after a second, is refused, and goes to another replica.
#[cfg(target_os = "linux")]
fn ignore_handshakes(listener: &TcpListener) {
    /// `BPF_RET | BPF_K`: returns a constant, the number of bytes to keep of a packet.
    const RETURN: u16 = 0x06;
    // A kernel without filters leaves the moment above, and nothing else.
    let _ = socket2::SockRef::from(listener).attach_filter(&[socket2::SockFilter::new(RETURN, 0, 0, 0)]);
}

/// Other systems' filters have other shapes, and such a server is no replica behind a proxy.
#[cfg(not(target_os = "linux"))]
fn ignore_handshakes(_: &TcpListener) {}

/// Removes a socket's file that nobody listens at any more.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(ListenError::NoSocket),
        Ok(_) => {}
    }
    let probe = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&socket2::SockAddr::unix(path)?) {
        Ok(()) => Err(ListenError::InUse),
        // Somebody listens, whose queue is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(ListenError::InUse),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        Err(error) => Err(error.into()),
    }
}

/// The file of a Unix socket, removed when dropped, unless another one is in its place by then.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), id: Self::id(path)? })
    }

    fn id(path: &Path) -> io::Result<(u64, u64)> {
        fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if Self::id(&self.path).is_ok_and(|id| id == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
