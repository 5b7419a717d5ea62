//! Bytes that go from one socket to another without passing through this process's memory (splice(2)).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use super::stream::Stream;

/// What a pipe holds if the system lets it (`/proc/sys/fs/pipe-max-size`); 64 KiB otherwise.
const CAPACITY: usize = 256 * 1024;

/// A pipe between two sockets.
#[derive(Debug)]
pub struct Pipe {
    reads: OwnedFd,
    writes: OwnedFd,
    held: usize,
}

impl Pipe {
    /// An empty one.
    ///
    /// # Errors
    /// If the process has no file descriptors left.
    pub fn new() -> io::Result<Self> {
        let (reads, writes) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let _ = fcntl_setpipe_size(&writes, CAPACITY);
        Ok(Self { reads, writes, held: 0 })
    }

    /// How many bytes are in it.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes up to `most` bytes from a stream without TLS; 0 is its end. Only an empty pipe may be filled: a full one
    /// looks like a stream that has nothing. Cancel safe.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, from: &Stream, most: usize) -> Poll<io::Result<usize>> {
        let most = most.min(CAPACITY);
        let read = from.poll_read_with(cx, |socket| {
            Ok(splice(
                socket,
                None,
                self.writes.as_fd(),
                None,
                most,
                SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
            )?)
        });
        if let Poll::Ready(Ok(n)) = read {
            self.held = self.held.saturating_add(n);
        }
        read
    }

    /// Gives some of what it holds to a stream without TLS. Cancel safe.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, to: &Stream) -> Poll<io::Result<usize>> {
        let written = to.poll_write_with(cx, |socket| {
            Ok(splice(
                self.reads.as_fd(),
                None,
                socket,
                None,
                self.held,
                SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
            )?)
        });
        if let Poll::Ready(Ok(n)) = written {
            self.held = self.held.saturating_sub(n);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn what_goes_in_comes_out_in_pieces_and_the_end_is_seen() {
        let (mut server, near_server) = UnixStream::pair().unwrap();
        let (mut client, near_client) = UnixStream::pair().unwrap();
        let (from, to) = (Stream::unix(near_server), Stream::unix(near_client));
        let mut pipe = Pipe::new().unwrap();
        let sent: Vec<u8> =
            (0..1_000_000_u32).map(|n| n.to_le_bytes()[usize::try_from(n % 4).unwrap()]).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move { server.write_all(&sent).await });
        let reading = tokio::spawn(async move {
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.map(|_| got)
        });
        let mut passed = 0;
        loop {
            let n = poll_fn(|cx| pipe.poll_fill(cx, &from, 700_000)).await.unwrap();
            if n == 0 {
                break;
            }
            passed += n;
            while pipe.held() > 0 {
                assert!(poll_fn(|cx| pipe.poll_drain(cx, &to)).await.unwrap() > 0);
            }
        }
        drop(to);
        writing.await.unwrap().unwrap();
        assert_eq!(passed, expected.len());
        assert!(reading.await.unwrap().unwrap() == expected);
    }
}
