//! Sockets, TLS and buffers.

mod connect;
mod low_water;
// Benchmarks use a part of it.
#[cfg(any(test, feature = "bench"))]
#[cfg_attr(not(test), allow(dead_code))]
mod memory;
mod pipe;
mod roots;
mod settings;
mod stream;
mod tls;
mod verify;

pub use connect::{ConnectError, Peer, connect, connect_peer, spare_congestion_control};
#[cfg(any(test, feature = "bench"))]
pub(crate) use memory::{Memory, memory_pair};
pub use pipe::Pipe;
pub use roots::TlsRoots;
pub use settings::{SocketTimes, SslMode, SslRoots};
pub use stream::{Detached, Stream};
pub use tls::{TlsError, TlsPolicy};
pub use verify::{TlsCheck, tls_builder};
