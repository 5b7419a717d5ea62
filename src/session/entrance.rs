//! A socket that clients come in by, on its way to the shard that accepts from it.

use std::io;
use std::net::{self, SocketAddr};
use std::os::unix::net as unix;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::{TcpListener, UnixListener};

use crate::net::Stream;

/// A bound socket that a shard is to accept from, until that is stopped.
#[derive(Debug)]
pub(super) struct Entrance {
    listener: Bound,
    stopped: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Bound {
    Tcp(net::TcpListener),
    Unix(unix::UnixListener),
}

/// The same, on a runtime.
pub(super) struct OpenEntrance {
    listener: Registered,
    stopped: Arc<AtomicBool>,
}

enum Registered {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Entrance {
    pub(super) fn tcp(listener: net::TcpListener, stopped: Arc<AtomicBool>) -> Self {
        Self { listener: Bound::Tcp(listener), stopped }
    }

    pub(super) fn unix(listener: unix::UnixListener, stopped: Arc<AtomicBool>) -> Self {
        Self { listener: Bound::Unix(listener), stopped }
    }

    /// Registers it with the current runtime.
    pub(super) fn open(self) -> io::Result<OpenEntrance> {
        let listener = match self.listener {
            Bound::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Registered::Tcp(TcpListener::from_std(listener)?)
            }
            Bound::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Registered::Unix(UnixListener::from_std(listener)?)
            }
        };
        Ok(OpenEntrance { listener, stopped: self.stopped })
    }
}

impl OpenEntrance {
    /// The next client, or what went wrong; `None`: nobody is to come in any more. Cancel safe.
    pub(super) async fn next(&self) -> Option<io::Result<(Stream, Option<SocketAddr>)>> {
        let came = match &self.listener {
            Registered::Tcp(listener) => {
                listener.accept().await.map(|(socket, address)| (Stream::tcp(socket), Some(address)))
            }
            Registered::Unix(listener) => {
                listener.accept().await.map(|(socket, _)| (Stream::unix(socket), None))
            }
        };
        (!self.stopped.load(Ordering::Acquire)).then_some(came)
    }
}
