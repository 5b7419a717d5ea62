//! Where clients come in: TCP on loopback and a Unix socket, bound here and accepted from by the first shard.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, Socket, Type};

use super::entrance::Entrance;
use super::listen_settings::ListenSettings;
use super::port::ClientPort;
use crate::net::spare_congestion_control;

const BACKLOG: i32 = 1024;

/// Why nobody can come in.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The TCP address cannot be had.
    #[error("cannot listen on {address}: {source}; is another Leasehold or PgBouncer running there?")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The Unix socket cannot be made.
    #[error("cannot listen on {}: {source}", .path.display())]
    Unix {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Clients are not asked for a password, so only this host may reach us.
    #[error(
        "listen.tcp = {address} is not a loopback address: clients need no password here, so anyone who reaches it would have the database; listen on 127.0.0.1 or [::1]"
    )]
    OffLoopback {
        /// The address.
        address: SocketAddr,
    },
}

/// Bound sockets; dropping them stops listening and removes the Unix socket.
#[derive(Debug)]
pub struct Listeners {
    tcp: Option<TcpListener>,
    unix: Option<(UnixListener, SocketFile)>,
}

/// The socket's name in the file system, gone when this is dropped.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listeners {
    /// Binds what the settings name.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn bind(settings: &ListenSettings) -> Result<Self, ListenError> {
        let tcp = match settings.tcp {
            Some(address) if !address.ip().is_loopback() => return Err(ListenError::OffLoopback { address }),
            Some(address) => Some(bind_tcp(address).map_err(|source| ListenError::Tcp { address, source })?),
            None => None,
        };
        let unix = match &settings.unix_dir {
            Some(dir) => {
                let path = dir.join(format!(".s.PGSQL.{}", settings.unix_port));
                let socket = bind_unix(&path, settings.unix_mode);
                Some(socket.map_err(|source| ListenError::Unix { path, source })?)
            }
            None => None,
        };
        Ok(Self { tcp, unix })
    }

    /// The TCP address, with the port that the system chose if it was asked to.
    #[must_use]
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Lets the first shard accept until the result is dropped.
    ///
    /// # Errors
    /// If a socket cannot be handed over.
    pub fn start(self, ports: &[ClientPort]) -> io::Result<Accepting> {
        let stopped = Arc::new(AtomicBool::new(false));
        let mut accepting = Accepting { stopped: stopped.clone(), sockets: Vec::new(), _file: None };
        let Some(first) = ports.first() else { return Ok(accepting) };
        if let Some(listener) = self.tcp {
            accepting.sockets.push(listener.try_clone()?.into());
            first.listen(Entrance::tcp(listener, stopped.clone()));
        }
        if let Some((listener, file)) = self.unix {
            accepting.sockets.push(listener.try_clone()?.into());
            accepting._file = Some(file);
            first.listen(Entrance::unix(listener, stopped));
        }
        Ok(accepting)
    }
}

/// Accepted from now on; dropping it ends that at once.
#[derive(Debug)]
pub struct Accepting {
    stopped: Arc<AtomicBool>,
    sockets: Vec<Socket>,
    _file: Option<SocketFile>,
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        for socket in &self.sockets {
            // Nobody gets in any more, and accept(2) fails.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // What is accepted inherits both.
    spare_congestion_control(&socket);
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds under another name, sets the mode, and only then renames: nobody can
/// connect before the mode is right.
fn bind_unix(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process is listening there"));
    }
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let hidden = path.with_extension(format!("new.{}", std::process::id()));
    let _ = std::fs::remove_file(&hidden);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(&hidden)?)?;
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    std::fs::rename(&hidden, path)?;
    Ok((socket.into(), SocketFile(path.to_owned())))
}
