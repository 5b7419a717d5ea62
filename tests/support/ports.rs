//! Ports that parallel tests, and a server's next start, can rely on.

use std::fs::{File, OpenOptions, TryLockError};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rand::RngExt;

/// A TCP port on loopback that is ours, in every test process of this user,
/// until this is dropped, whether or not something listens on it meanwhile.
///
/// The kernel gives outgoing connections ports from `ip_local_port_range`, so
/// ours come from below it: a server that is stopped finds its port free again.
#[derive(Debug)]
pub struct Port {
    number: u16,
    path: PathBuf,
    _claim: File,
}

impl Port {
    /// Claims one.
    pub fn claim() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let directory = std::env::temp_dir().join(format!("leasehold-test-ports-{uid}"));
        std::fs::create_dir_all(&directory).unwrap();
        for _ in 0..2000 {
            let number = rand::rng().random_range(12_000..lowest_ephemeral());
            let path = directory.join(number.to_string());
            let claim = OpenOptions::new().create(true).append(true).open(&path).unwrap();
            match claim.try_lock() {
                // Its last owner may have removed the file between our open and our lock.
                Ok(()) if claim.metadata().unwrap().nlink() == 0 => {}
                Ok(()) if TcpListener::bind(("127.0.0.1", number)).is_ok() => {
                    return Self { number, path, _claim: claim };
                }
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => panic!("cannot lock in {directory:?}: {error}"),
            }
        }
        panic!("no free TCP port on loopback");
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn lowest_ephemeral() -> u16 {
    std::fs::read_to_string(PathBuf::from("/proc/sys/net/ipv4/ip_local_port_range"))
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .filter(|lowest| *lowest > 14_000)
        .unwrap_or(32_768)
}
