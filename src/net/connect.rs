//! Opens a socket to a server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};

use super::settings::SocketTimes;
use super::stream::Stream;

/// Which address a connection really went to: a CancelRequest must go to the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Address and port.
    Tcp(SocketAddr),
    /// The socket's path.
    Unix(PathBuf),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("cannot resolve host {host:?}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address answered; the last one's error.
    #[error("cannot connect to {to}: {source}")]
    Connect {
        /// The address.
        to: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Resolves `host` anew and connects to the first address that answers; a host
/// that begins with `/` is the directory of a Unix socket. Not bounded in time.
/// Cancel safe: a dropped attempt closes its socket.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(host: &str, port: u16, times: SocketTimes) -> Result<(Stream, Peer), ConnectError> {
    if host.starts_with('/') {
        let path = PathBuf::from(host).join(format!(".s.PGSQL.{port}"));
        return connect_peer(&Peer::Unix(path.clone()), times).await.map(|s| (s, Peer::Unix(path)));
    }
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => lookup_host((host, port))
            .await
            .map_err(|source| ConnectError::Resolve { host: host.into(), source })?
            .collect(),
    };
    let mut last = ConnectError::Resolve { host: host.into(), source: io::ErrorKind::NotFound.into() };
    for address in addresses {
        match connect_peer(&Peer::Tcp(address), times).await {
            Ok(stream) => return Ok((stream, Peer::Tcp(address))),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects to exactly this address.
///
/// # Errors
/// [`ConnectError::Connect`].
pub async fn connect_peer(peer: &Peer, times: SocketTimes) -> Result<Stream, ConnectError> {
    match peer {
        Peer::Tcp(address) => {
            let failed = |source| ConnectError::Connect { to: address.to_string(), source };
            let socket = unconnected(address).map_err(failed)?.connect(*address).await.map_err(failed)?;
            tune(&socket, times).map_err(failed)?;
            Ok(Stream::tcp(socket))
        }
        Peer::Unix(path) => UnixStream::connect(path)
            .await
            .map(Stream::unix)
            .map_err(|source| ConnectError::Connect { to: path.display().to_string(), source }),
    }
}

/// A socket for this address.
fn unconnected(address: &SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.ip().is_loopback() {
        spare_congestion_control(&SockRef::from(&socket));
    }
    Ok(socket)
}

/// Over loopback nothing is ever congested. Where BBR is the rule each segment would be paced by a timer;
/// what a system does not allow stays as it is. What a listener has, its connections inherit (tcp(7),
/// `TCP_CONGESTION`).
pub fn spare_congestion_control(socket: &Socket) {
    let _ = socket.set_tcp_congestion(b"reno");
}

fn tune(socket: &TcpStream, times: SocketTimes) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    if !times.keepalive.is_zero() {
        let probe = (times.keepalive / 4).max(std::time::Duration::from_secs(1));
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(times.keepalive).with_interval(probe))?;
    }
    if !times.user_timeout.is_zero() {
        socket.set_tcp_user_timeout(Some(times.user_timeout))?;
    }
    Ok(())
}
