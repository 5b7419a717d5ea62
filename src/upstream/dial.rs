//! Opens a connection to one host and logs in.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::error::DialError;
use super::login::{LoginState, Step};
use super::messages::Messages;
use super::settings::HostSettings;
use super::target::Target;
use crate::net::{Peer, Stream, TlsPolicy, connect, connect_peer};
use crate::secret::Secret;
use crate::wire::{CancelKey, Encoder};

/// A connection that is ready for queries.
#[derive(Debug)]
pub struct Connected {
    /// At a message boundary, nothing unread.
    pub stream: Stream,
    /// Which of the target's hosts it went to.
    pub host: usize,
    /// The hosts that were tried before in vain, and why.
    pub passed: Vec<(usize, DialError)>,
    /// The address it went to.
    pub peer: Peer,
    /// What a CancelRequest for it must quote; some poolers send none.
    pub key: Option<CancelKey>,
    /// What the server reported, in its order.
    pub params: Vec<(String, String)>,
}

/// Connects to one host of the target and logs in there. Not bounded in time. Cancel safe: a dropped
/// attempt closes its socket.
pub(super) async fn log_in(
    target: &Target,
    host: usize,
    user: &str,
    password: &Secret,
    extra: &[(String, String)],
) -> Result<Connected, DialError> {
    let settings = target.settings();
    let at = target.host(host).ok_or(DialError::Protocol("no such host"))?;
    let (stream, peer) = connect(&at.host, at.port, target.times()).await?;
    let mut messages = Messages::new(secure(target, at, stream).await?);

    let own = [("user", user), ("database", settings.dbname.as_str())];
    let role = settings.role.as_deref().map(|role| ("role", role));
    let extra = extra.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut startup = Encoder::default();
    startup.startup(own.into_iter().chain(role).chain(extra));
    messages.send(&startup.into_bytes()).await?;

    let mut state =
        LoginState::new(user, password, &target.keys.of(user, password), messages.stream().is_tls());
    loop {
        let (kind, body) = messages.next().await?;
        let step;
        if state.is_costly(kind, &body) {
            // Milliseconds of hashing: not on a thread that relays.
            let hashing = spawn_blocking(move || {
                let step = state.message(kind, &body);
                (state, step)
            });
            (state, step) = hashing.await.map_err(std::io::Error::other)?;
        } else {
            step = state.message(kind, &body);
        }
        match step? {
            Step::Send(bytes) => messages.send(&bytes).await?,
            Step::Read => {}
            Step::Ready => break,
        }
    }
    let (key, params) = (state.key, state.params);
    Ok(Connected { stream: messages.into_stream()?, host, passed: Vec::new(), peer, key, params })
}

async fn secure(target: &Target, host: &HostSettings, mut stream: Stream) -> Result<Stream, DialError> {
    let tls = target.tls(host);
    let Some(session) = tls.session(&host.host)? else {
        return Ok(stream);
    };
    let mut request = Encoder::default();
    request.ssl_request();
    stream.write_all(&request.into_bytes()).await?;
    // Read exactly one byte: what follows belongs to TLS, and what came with it
    // in the clear must not be taken for decrypted (CVE-2021-23222).
    match stream.read_u8().await? {
        b'S' => {
            let mut stream = stream.with_tls(session);
            stream.handshake().await.map_err(DialError::Handshake)?;
            Ok(stream)
        }
        b'N' if matches!(tls, TlsPolicy::IfOffered(_)) => Ok(stream),
        b'N' => Err(DialError::NoTls),
        b'E' => Err(DialError::Protocol("an error in answer to SSLRequest: the server is too old or full")),
        _ => Err(DialError::Injected),
    }
}

/// Sends a CancelRequest to the address that a connection to `host` went to and waits for the
/// server to close, by when the signal is on its way.
///
/// # Errors
/// [`DialError`]; whether the request arrived is then unknown.
pub async fn cancel(
    target: &Target,
    host: usize,
    peer: &Peer,
    key: &CancelKey,
    limit: Duration,
) -> Result<(), DialError> {
    let attempt = async {
        let host = target.host(host).ok_or(DialError::Protocol("no such host"))?;
        let stream = connect_peer(peer, target.times()).await?;
        let mut stream = secure(target, host, stream).await?;
        let mut request = Encoder::default();
        request.cancel_request(key);
        stream.write_all(&request.into_bytes()).await?;
        stream.flush().await?;
        let mut rest = [0; 64];
        while stream.read(&mut rest).await.unwrap_or(0) > 0 {}
        Ok(())
    };
    timeout(limit, Box::pin(attempt)).await.unwrap_or(Err(DialError::Timeout(limit)))
}
