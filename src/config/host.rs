//! What `check` asks of the machine it runs on.

use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use rustix::process::{Resource, getrlimit};

/// The machine, as far as a configuration's meaning depends on it.
pub trait Host {
    /// The addresses of a name, in the order they would be tried.
    ///
    /// # Errors
    ///
    /// The resolver's words.
    fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, String>;

    /// CPU cores this process may use.
    fn cores(&self) -> usize;

    /// How many files and sockets this process may open, if there is a limit.
    fn open_files(&self) -> Option<u64>;

    /// Whether a directory is there.
    fn has_directory(&self, path: &Path) -> bool;
}

/// The machine that we run on.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThisHost;

impl Host for ThisHost {
    fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let found = (name, 0).to_socket_addrs().map_err(|error| error.to_string())?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found {
            if !addresses.contains(&address.ip()) {
                addresses.push(address.ip());
            }
        }
        Ok(addresses)
    }

    fn cores(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    fn open_files(&self) -> Option<u64> {
        getrlimit(Resource::Nofile).maximum
    }

    fn has_directory(&self, path: &Path) -> bool {
        path.is_dir()
    }
}

/// No machine at all, for who wants values and no meaning.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoHost;

impl Host for NoHost {
    fn resolve(&self, _name: &str) -> Result<Vec<IpAddr>, String> {
        Ok(Vec::new())
    }

    fn cores(&self) -> usize {
        usize::MAX
    }

    fn open_files(&self) -> Option<u64> {
        None
    }

    fn has_directory(&self, _path: &Path) -> bool {
        true
    }
}
