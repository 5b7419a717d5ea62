//! How much a socket has received before it wakes who waits for it (socket(7), `SO_RCVLOWAT`). The one unsafe call is nix's: its
//! macro for options that it does not name itself.

use std::os::fd::AsFd;

use nix::sys::socket::setsockopt;
use nix::{libc, setsockopt_impl, sockopt_impl};

sockopt_impl!(
    /// Bytes, at least one. Its end and errors wake at any rate, and so does a buffer that is full.
    LowWater,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_RCVLOWAT,
    i32
);

/// Sets it, and wakes if that much is there (Linux from 4.18 on). Only TCP heeds it; where it cannot be set each byte wakes.
pub(super) fn set_low_water(socket: &impl AsFd, bytes: u32) {
    let _ = setsockopt(socket, LowWater, &i32::try_from(bytes).unwrap_or(i32::MAX));
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use crate::net::Stream;

    /// What is read within half a second.
    async fn read(stream: &mut Stream) -> Option<usize> {
        let mut buffer = [0; 1000];
        let reading = poll_fn(|cx| stream.poll_read(cx, &mut buffer));
        timeout(Duration::from_millis(500), reading).await.ok().map(Result::unwrap)
    }

    #[tokio::test]
    async fn less_wakes_nobody_until_it_is_asked_for_or_the_end_comes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut near = Stream::tcp(listener.accept().await.unwrap().0);
        near.wakes_at(300);
        assert_eq!(read(&mut near).await, None);
        far.write_all(&[b'x'; 299]).await.unwrap();
        assert_eq!(read(&mut near).await, None);
        far.write_all(b"x").await.unwrap();
        assert_eq!(read(&mut near).await, Some(300));
        far.write_all(&[b'x'; 7]).await.unwrap();
        assert_eq!(read(&mut near).await, None);
        near.wakes_at(0);
        assert_eq!(read(&mut near).await, Some(7));
        near.wakes_at(300);
        far.write_all(&[b'x'; 9]).await.unwrap();
        assert_eq!(read(&mut near).await, None);
        drop(far);
        assert_eq!((read(&mut near).await, read(&mut near).await), (Some(9), Some(0)));
    }
}
