//! Sockets: listening ones, and accepted ones of any kind. TLS will be one more kind.

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as RawSocket, TcpKeepalive, Type};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

const BACKLOG: i32 = 4096;
/// How long TCP keeps sending to a client that does not acknowledge, as grpc-go sets it.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(20);
/// Go's own interval for probes of idle connections.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Where to listen.
#[derive(Clone, Debug)]
pub enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// A listening socket.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    /// As Go words it: `listen tcp 127.0.0.1:2379`.
    pub what: String,
    pub cause: io::Error,
}

impl Listener {
    /// With `shared` other processes may listen on a TCP address, too.
    pub fn open(address: &Address, shared: bool) -> Result<Listener, ListenError> {
        match address {
            Address::Tcp { host, port } => open_tcp(host, *port, shared).map_err(|cause| {
                let host = if host.contains(':') {
                    format!("[{host}]")
                } else {
                    host.clone()
                };
                ListenError {
                    what: format!("listen tcp {host}:{port}"),
                    cause,
                }
            }),
            Address::Unix(path) => UnixListener::bind(path)
                .map(|listener| Listener::Unix(listener, path.clone()))
                .map_err(|cause| ListenError {
                    what: format!("listen unix {}", path.display()),
                    cause,
                }),
        }
    }

    /// "127.0.0.1:2379", with the port that the system chose for 0; of a Unix socket its path.
    pub fn local_address(&self) -> String {
        match self {
            Listener::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|error| error.to_string(), |addr| addr.to_string()),
            Listener::Unix(_, path) => path.display().to_string(),
        }
    }

    /// The next connection and its address, if one waits.
    pub fn accept(&self) -> io::Result<(Socket, String)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, remote) = listener.accept()?;
                prepare(&stream);
                Ok((Socket::Tcp(stream), plain(remote).to_string()))
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                Ok((Socket::Unix(stream), "@".into()))
            }
        }
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            Listener::Unix(listener, _) => listener.register(registry, token, Interest::READABLE),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            // It may have been removed already, and nothing depends on it.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn open_tcp(host: &str, port: u16, shared: bool) -> io::Result<Listener> {
    let addresses: Vec<SocketAddr> = if host.is_empty() {
        vec![
            SocketAddr::from(([0u16; 8], port)),
            SocketAddr::from(([0u8; 4], port)),
        ]
    } else {
        (host, port).to_socket_addrs()?.collect()
    };
    // As Go, a name with several addresses means its first IPv4 one; all addresses mean both families.
    let address = if host.is_empty() {
        addresses.first()
    } else {
        addresses
            .iter()
            .find(|address| address.is_ipv4())
            .or(addresses.first())
    };
    let Some(address) = address else {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "no such host",
        ));
    };
    match bind_tcp(*address, shared) {
        // A host without IPv6 still has all its IPv4 addresses.
        Err(_) if host.is_empty() => bind_tcp(addresses[1], shared),
        result => result,
    }
}

fn bind_tcp(address: SocketAddr, shared: bool) -> io::Result<Listener> {
    let socket = RawSocket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(Listener::Tcp(TcpListener::from_std(socket.into())))
}

/// Options that make connections fast and dead clients seen. A socket that refuses one still works.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE),
    );
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(USER_TIMEOUT));
}

/// An IPv4 client of a socket for both families has its IPv4 address.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A connected socket.
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interests = Interest::READABLE | Interest::WRITABLE;
        match self {
            Socket::Tcp(stream) => stream.register(registry, token, interests),
            Socket::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    /// What was written arrives, and then the end.
    pub fn shutdown_write(&self) {
        // The peer may be gone already, which is what was wanted.
        let _ = match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(into),
            Socket::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads until the buffer is full, the socket is empty or it has ended.
pub fn read_some(socket: &mut Socket, into: &mut [u8]) -> Received {
    loop {
        match socket.read(into) {
            Ok(0) => return Received::End,
            Ok(count) => return Received::Bytes(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Received::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Received::End,
        }
    }
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    Bytes(usize),
    /// Not now.
    Nothing,
    /// The other side has closed, or the connection has failed.
    End,
}

/// Writes once; 0 when the socket takes nothing now, `None` when it has failed.
pub fn write_some(socket: &mut impl Write, bytes: &[u8]) -> Option<usize> {
    loop {
        match socket.write(bytes) {
            Ok(count) => return Some(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
