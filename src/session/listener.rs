//! Where clients come in: TCP on loopback and a Unix socket.
//!
//! The acceptor never registers a client's socket itself: it is handed, as it
//! came from the kernel, to the first shard that is not busy.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tracing::warn;

use super::crowd::Crowd;
use super::listen_settings::ListenSettings;
use super::port::ClientPort;
use crate::net::{Detached, spare_congestion_control};

const BACKLOG: i32 = 1024;
/// Pause when the process has no file descriptor left for another client.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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

    /// Accepts on a thread for each listener until the result is dropped.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(self, ports: &[ClientPort], crowd: &Arc<Crowd>) -> io::Result<Accepting> {
        let mut accepting = Accepting { tcp: None, unix: None, threads: Vec::new() };
        let stopped = Arc::new(AtomicBool::new(false));
        if let Some(listener) = self.tcp {
            let listener = Arc::new(listener);
            let accept = {
                let listener = listener.clone();
                move || listener.accept().map(|(stream, address)| (Detached::tcp(stream), Some(address)))
            };
            accepting.spawn("accept-tcp", accept, ports, crowd, &stopped)?;
            accepting.tcp = Some((listener, stopped.clone()));
        }
        if let Some((listener, file)) = self.unix {
            let listener = Arc::new(listener);
            let accept = {
                let listener = listener.clone();
                move || listener.accept().map(|(stream, _)| (Detached::unix(stream), None))
            };
            accepting.spawn("accept-unix", accept, ports, crowd, &stopped)?;
            accepting.unix = Some((listener, stopped, file));
        }
        Ok(accepting)
    }
}

/// Running acceptors; dropping it stops them.
///
/// They block in accept(2): an accepted socket is registered once, with the shard
/// it goes to, and an idle proxy does not wake for them.
#[derive(Debug)]
pub struct Accepting {
    tcp: Option<(Arc<TcpListener>, Arc<AtomicBool>)>,
    unix: Option<(Arc<UnixListener>, Arc<AtomicBool>, SocketFile)>,
    threads: Vec<JoinHandle<()>>,
}

impl Accepting {
    fn spawn(
        &mut self,
        name: &str,
        accept: impl Fn() -> io::Result<(io::Result<Detached>, Option<SocketAddr>)> + Send + 'static,
        ports: &[ClientPort],
        crowd: &Arc<Crowd>,
        stopped: &Arc<AtomicBool>,
    ) -> io::Result<()> {
        let (ports, crowd, stopped) = (ports.to_vec(), crowd.clone(), stopped.clone());
        let run = move || {
            while !stopped.load(Ordering::Acquire) {
                match accept() {
                    Ok((Ok(stream), address)) => {
                        if let Some(port) = ports.get(crowd.place()) {
                            port.accept(stream, address);
                        }
                    }
                    Ok((Err(_), _)) => {}
                    Err(error) if !stopped.load(Ordering::Acquire) => {
                        warn!(%error, "accepting a client failed");
                        std::thread::sleep(ACCEPT_PAUSE);
                    }
                    Err(_) => {}
                }
            }
        };
        self.threads.push(std::thread::Builder::new().name(name.into()).spawn(run)?);
        Ok(())
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        if let Some((listener, stopped)) = &self.tcp {
            stopped.store(true, Ordering::Release);
            // Wakes the thread out of accept(2), which then fails.
            let _ = SockRef::from(&**listener).shutdown(Shutdown::Both);
        }
        if let Some((listener, stopped, _)) = &self.unix {
            stopped.store(true, Ordering::Release);
            let _ = SockRef::from(&**listener).shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    spare_congestion_control(&socket);
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
