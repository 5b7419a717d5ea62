//! Connections: who comes in, how many, and for how long.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::answer::answer;
use super::settings::HttpSettings;
use crate::snapshot::Watched;

/// Connections at a time: probes and people, no traffic.
const MOST_CONNECTIONS: usize = 64;
/// How long a client may take to send a request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection lasts at most: one request, its answer, and what it takes to read that.
const LONGEST: Duration = Duration::from_secs(15);
/// Bytes of a request's head, and how many headers.
const LARGEST_HEAD: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;
/// Pause when the process has no file descriptor left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Said to a connection too many.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Why there is no HTTP.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on http.listen = {address}: {source}; is another Leasehold running there?")]
pub struct HttpError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// A bound listener that nobody serves yet; dropping it stops listening.
#[derive(Debug)]
pub struct BoundHttp {
    listener: TcpListener,
    address: SocketAddr,
}

impl BoundHttp {
    /// Binds what is set; `None`: nothing is. Must run on a runtime.
    ///
    /// # Errors
    /// [`HttpError`].
    pub fn bind(settings: &HttpSettings) -> Result<Option<Self>, HttpError> {
        let Some(address) = settings.listen else { return Ok(None) };
        let bound = StdListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Self { listener: TcpListener::from_std(listener)?, address })
        });
        bound.map(Some).map_err(|source| HttpError { address, source })
    }

    /// The address, with the port that the system chose for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves one proxy's HTTP.
#[derive(Debug)]
pub struct HttpServer {
    watched: Arc<Watched>,
    quit: CancellationToken,
}

impl HttpServer {
    /// Answers from what is watched; cancels `quit` when somebody asks for the end.
    #[must_use]
    pub fn new(watched: Arc<Watched>, quit: CancellationToken) -> Self {
        Self { watched, quit }
    }

    /// Serves on the current runtime. Never ends; dropping the future closes every connection.
    pub async fn serve(self, bound: BoundHttp) {
        let server = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = bound.listener.accept() => match accepted {
                    Ok((stream, peer)) if connections.len() < MOST_CONNECTIONS => {
                        connections.spawn(server.clone().connection(stream, peer));
                    }
                    Ok((stream, peer)) => {
                        debug!(%peer, most = MOST_CONNECTIONS, "too many HTTP connections");
                        let _ = stream.try_write(TOO_MANY);
                    }
                    Err(error) => {
                        warn!(%error, "cannot accept an HTTP connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    }

    /// One request and its answer.
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let quit = AtomicBool::new(false);
        let service = service_fn(async |request: Request<Incoming>| {
            let (method, path) = (request.method(), request.uri().path());
            let answer = answer(&self.watched, peer, method, path, request.headers()).await;
            debug!(%peer, %method, path, status = answer.response.status().as_u16(), "HTTP");
            quit.fetch_or(answer.quit, Ordering::AcqRel);
            Ok::<_, Infallible>(answer.response)
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(LARGEST_HEAD)
            .max_headers(MOST_HEADERS)
            .keep_alive(false);
        let served = pin!(builder.serve_connection(TokioIo::new(stream), service));
        match timeout(LONGEST, served).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%peer, %error, "HTTP connection failed"),
            Err(_) => debug!(%peer, "HTTP connection took too long"),
        }
        // Only now, so that whoever asked has the answer.
        if quit.load(Ordering::Acquire) {
            info!(%peer, "the end was asked for by HTTP");
            self.quit.cancel();
        }
    }
}
