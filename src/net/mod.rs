//! Sockets, TLS and buffers.

mod connect;
mod settings;
mod stream;
mod tls;

pub use connect::{ConnectError, Peer, connect, connect_peer};
pub use settings::{SocketTimes, SslMode, SslRoots};
pub use stream::{Detached, Stream};
pub use tls::{TlsError, TlsPolicy, load_roots};
