//! A byte stream to a client or a server: TCP, Unix, or TLS over either.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::{ClientConnection, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::low_water::set_low_water;

/// A connected stream, registered with the runtime it was made on.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(any(test, feature = "bench"))]
    Memory(super::memory::Memory),
}

/// A stream that belongs to no runtime, on its way to another thread.
#[derive(Debug)]
pub struct Detached {
    socket: DetachedSocket,
    tls: Option<Box<ClientConnection>>,
}

#[derive(Debug)]
enum DetachedSocket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Stream {
    /// A plain TCP stream.
    #[must_use]
    pub fn tcp(socket: TcpStream) -> Self {
        Self { socket: Socket::Tcp(socket), tls: None }
    }

    /// A plain Unix stream.
    #[must_use]
    pub fn unix(socket: UnixStream) -> Self {
        Self { socket: Socket::Unix(socket), tls: None }
    }

    /// No socket at all.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn memory(end: super::memory::Memory) -> Self {
        Self { socket: Socket::Memory(end), tls: None }
    }

    /// The same stream with TLS on top; the handshake happens on first use.
    #[must_use]
    pub fn with_tls(self, session: ClientConnection) -> Self {
        Self { socket: self.socket, tls: Some(Box::new(session)) }
    }

    /// The version of TLS on it, as OpenSSL names it; `None` without TLS.
    #[must_use]
    pub fn tls_version(&self) -> Option<&'static str> {
        let version = self.tls.as_ref()?.protocol_version();
        Some(match version {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLS",
        })
    }

    /// Completes the TLS handshake; nothing to do without TLS. Not cancel safe: drop the
    /// stream if it was cancelled.
    ///
    /// # Errors
    /// What the peer's certificate or the handshake lacks, or the socket's error.
    pub async fn handshake(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(())) };
            loop {
                ready!(flush_tls(tls, &mut self.socket, cx))?;
                if !tls.is_handshaking() {
                    return Poll::Ready(Ok(()));
                }
                match tls.read_tls(&mut Blocking { socket: &mut self.socket, cx }) {
                    Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    Ok(_) => {
                        let progress = tls.process_new_packets().map_err(io::Error::other);
                        if progress.is_err() {
                            // Tell the peer why, if it fits.
                            let _ = flush_tls(tls, &mut self.socket, cx)?;
                        }
                        progress?;
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                    Err(e) => return Poll::Ready(Err(e)),
                }
            }
        })
        .await
    }

    /// The user id of the process at the other end of a Unix socket, as it was when that connected
    /// (unix(7), `SO_PEERCRED`); `None` over TCP.
    #[must_use]
    pub fn peer_uid(&self) -> Option<u32> {
        match &self.socket {
            Socket::Unix(socket) => socket.peer_cred().ok().map(|peer| peer.uid()),
            _ => None,
        }
    }

    /// Whether it is a socket without TLS.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        match &self.socket {
            Socket::Tcp(_) | Socket::Unix(_) => self.tls.is_none(),
            #[cfg(any(test, feature = "bench"))]
            Socket::Memory(_) => false,
        }
    }

    /// Reads from the socket itself in another way than by copying; `WouldBlock` is waited for.
    pub(super) fn poll_read_with(
        &self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let done = match &self.socket {
                Socket::Tcp(s) => {
                    ready!(s.poll_read_ready(cx))?;
                    s.try_io(Interest::READABLE, || read(s.as_fd()))
                }
                Socket::Unix(s) => {
                    ready!(s.poll_read_ready(cx))?;
                    s.try_io(Interest::READABLE, || read(s.as_fd()))
                }
                #[cfg(any(test, feature = "bench"))]
                Socket::Memory(_) => Err(io::ErrorKind::Unsupported.into()),
            };
            if !matches!(&done, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                return Poll::Ready(done);
            }
        }
    }

    /// Writes to the socket itself in another way than by copying; `WouldBlock` is waited for.
    pub(super) fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let done = match &self.socket {
                Socket::Tcp(s) => {
                    ready!(s.poll_write_ready(cx))?;
                    s.try_io(Interest::WRITABLE, || write(s.as_fd()))
                }
                Socket::Unix(s) => {
                    ready!(s.poll_write_ready(cx))?;
                    s.try_io(Interest::WRITABLE, || write(s.as_fd()))
                }
                #[cfg(any(test, feature = "bench"))]
                Socket::Memory(_) => Err(io::ErrorKind::Unsupported.into()),
            };
            if !matches!(&done, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                return Poll::Ready(done);
            }
        }
    }

    /// From now on who reads from a TCP socket is woken when so many bytes are there (with TLS, encrypted ones), or at
    /// once if they are; at least one. The end wakes at any rate. Who asks for more than one must ask for one again, by
    /// a clock where it does not know that as much will come.
    pub fn wakes_at(&self, bytes: u32) {
        if let Socket::Tcp(socket) = &self.socket {
            set_low_water(socket, bytes.max(1));
        }
    }

    /// Whether TLS is on.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Takes the stream off its runtime.
    ///
    /// # Errors
    /// If the runtime does not give it up; the connection is lost then.
    pub fn detach(self) -> io::Result<Detached> {
        let socket = match self.socket {
            Socket::Tcp(s) => DetachedSocket::Tcp(s.into_std()?),
            Socket::Unix(s) => DetachedSocket::Unix(s.into_std()?),
            #[cfg(any(test, feature = "bench"))]
            Socket::Memory(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Detached { socket, tls: self.tls })
    }

    /// Reads into `buf`; 0 is the end. A short read clears readiness, so that
    /// the next call costs no system call. Cancel safe.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            None => self.socket.poll_read(cx, buf),
            Some(tls) => loop {
                match tls.reader().read(buf) {
                    Ok(n) => return Poll::Ready(Ok(n)),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    // The peer closed without close_notify, which PostgreSQL does.
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(0)),
                    Err(e) => return Poll::Ready(Err(e)),
                }
                let read = tls.read_tls(&mut Blocking { socket: &mut self.socket, cx });
                match read {
                    Ok(_) => {
                        tls.process_new_packets().map_err(io::Error::other)?;
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                    Err(e) => return Poll::Ready(Err(e)),
                }
                if tls.wants_write() {
                    // Key updates and alerts; what does not fit now goes with the next write.
                    let _ = flush_tls(tls, &mut self.socket, cx)?;
                }
            },
        }
    }

    /// Writes some of `buf`. What TLS has taken but not sent is the business of
    /// [`Stream::poll_flush`]. Cancel safe.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            None => self.socket.poll_write(cx, buf),
            Some(tls) => {
                ready!(flush_tls(tls, &mut self.socket, cx))?;
                let n = tls.writer().write(buf)?;
                let _ = flush_tls(tls, &mut self.socket, cx)?;
                Poll::Ready(Ok(n))
            }
        }
    }

    /// Sends what TLS still holds; nothing to do without TLS.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.tls {
            None => Poll::Ready(Ok(())),
            Some(tls) => flush_tls(tls, &mut self.socket, cx),
        }
    }

    /// Whether the peer sent something (or left) while nobody was reading,
    /// as far as the runtime has been told: no system call unless it has. If not, the waker of `cx` is woken
    /// when it does.
    #[must_use]
    pub fn has_news(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(tls) = &mut self.tls
            && !matches!(tls.process_new_packets(), Ok(state) if state.plaintext_bytes_to_read() == 0)
        {
            return true;
        }
        if self.poll_socket(cx).is_pending() {
            return false;
        }
        // Readiness can be left over from a read that filled its buffer: look,
        // which also clears it.
        let mut byte = [0];
        let looked = match &self.socket {
            Socket::Tcp(s) => s.try_read(&mut byte),
            Socket::Unix(s) => s.try_read(&mut byte),
            #[cfg(any(test, feature = "bench"))]
            Socket::Memory(_) => return true,
        };
        !matches!(looked, Err(e) if e.kind() == io::ErrorKind::WouldBlock) || self.poll_socket(cx).is_ready()
    }

    fn poll_socket(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.socket {
            Socket::Tcp(s) => s.poll_read_ready(cx).map(drop),
            Socket::Unix(s) => s.poll_read_ready(cx).map(drop),
            #[cfg(any(test, feature = "bench"))]
            Socket::Memory(end) => end.poll_news(),
        }
    }

    /// Writes what fits without waiting, for a goodbye that nobody waits for.
    pub fn try_goodbye(&mut self, bytes: &[u8]) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let _ = self.poll_write(&mut cx, bytes);
    }
}

fn flush_tls(tls: &mut ClientConnection, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    while tls.wants_write() {
        match tls.write_tls(&mut Blocking { socket, cx }) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(e) => return Poll::Ready(Err(e)),
        }
    }
    Poll::Ready(Ok(()))
}

impl Socket {
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        #[cfg(any(test, feature = "bench"))]
        if let Self::Memory(end) = self {
            return end.poll_read(buf);
        }
        let mut buf = ReadBuf::new(buf);
        match self {
            Self::Tcp(s) => ready!(Pin::new(s).poll_read(cx, &mut buf))?,
            Self::Unix(s) => ready!(Pin::new(s).poll_read(cx, &mut buf))?,
            #[cfg(any(test, feature = "bench"))]
            Self::Memory(_) => {}
        }
        Poll::Ready(Ok(buf.filled().len()))
    }

    #[inline]
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Self::Unix(s) => Pin::new(s).poll_write(cx, buf),
            #[cfg(any(test, feature = "bench"))]
            Self::Memory(end) => end.poll_write(buf),
        }
    }
}

/// Shows rustls a socket that blocks by saying `WouldBlock`.
struct Blocking<'a, 'b> {
    socket: &'a mut Socket,
    cx: &'a mut Context<'b>,
}

impl Read for Blocking<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.socket.poll_read(self.cx, buf) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Blocking<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.socket.poll_write(self.cx, buf) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let n = ready!(Stream::poll_read(self.get_mut(), cx, buf.initialize_unfilled()))?;
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Stream::poll_write(self.get_mut(), cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(self.get_mut(), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(tls) = &mut this.tls {
            tls.send_close_notify();
        }
        ready!(Stream::poll_flush(this, cx))?;
        match &mut this.socket {
            Socket::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Socket::Unix(s) => Pin::new(s).poll_shutdown(cx),
            #[cfg(any(test, feature = "bench"))]
            Socket::Memory(_) => Poll::Ready(Ok(())),
        }
    }
}

impl Detached {
    /// A plain TCP stream that was never on a runtime.
    ///
    /// # Errors
    /// If it cannot be made non-blocking.
    pub fn tcp(socket: std::net::TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(Self { socket: DetachedSocket::Tcp(socket), tls: None })
    }

    /// A plain Unix stream that was never on a runtime.
    ///
    /// # Errors
    /// If it cannot be made non-blocking.
    pub fn unix(socket: std::os::unix::net::UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: DetachedSocket::Unix(socket), tls: None })
    }

    /// Registers the stream with the current runtime.
    ///
    /// # Errors
    /// If the runtime refuses it; the connection is lost then.
    pub fn attach(self) -> io::Result<Stream> {
        let socket = match self.socket {
            DetachedSocket::Tcp(s) => Socket::Tcp(TcpStream::from_std(s)?),
            DetachedSocket::Unix(s) => Socket::Unix(UnixStream::from_std(s)?),
        };
        Ok(Stream { socket, tls: self.tls })
    }
}
