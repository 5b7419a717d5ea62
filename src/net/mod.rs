//! Sockets, TLS and buffers.

mod settings;

pub use settings::{SslMode, SslRoots};
