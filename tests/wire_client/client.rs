//! One connection.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::message::{self, Message};

/// Only a hang gets there.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where to connect.
#[derive(Debug, Clone)]
pub enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Place {
    pub fn loopback(port: u16) -> Self {
        Self::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// The error that ended a startup or a query.
#[derive(Debug, Clone)]
pub struct Refused {
    pub severity: String,
    pub sqlstate: String,
    pub text: String,
    pub detail: String,
    pub hint: String,
}

impl From<&Message> for Refused {
    fn from(error: &Message) -> Self {
        assert_eq!(error.kind, b'E', "{error:?}");
        Self {
            severity: error.field(b'S'),
            sqlstate: error.field(b'C'),
            text: error.field(b'M'),
            detail: error.field(b'D'),
            hint: error.field(b'H'),
        }
    }
}

/// A connection, logged in or not.
pub struct WireClient {
    stream: Box<dyn Duplex>,
    buffer: BytesMut,
    place: Place,
    /// To reset the connection by.
    socket: Option<std::net::TcpStream>,
    /// ParameterStatus since the startup, in order.
    pub params: Vec<(String, String)>,
    pub pid: u32,
    pub secret: Vec<u8>,
    /// Body of NegotiateProtocolVersion.
    pub negotiated: Option<Vec<u8>>,
}

impl std::fmt::Debug for WireClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WireClient({:?})", self.place)
    }
}

impl WireClient {
    /// A socket on which nothing was said yet.
    pub async fn open(place: &Place) -> io::Result<Self> {
        let mut socket = None;
        let stream: Box<dyn Duplex> = match place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let stream = stream.into_std()?;
                socket = Some(stream.try_clone()?);
                Box::new(TcpStream::from_std(stream)?)
            }
            Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
        };
        Ok(Self {
            stream,
            buffer: BytesMut::new(),
            place: place.clone(),
            socket,
            params: Vec::new(),
            pid: 0,
            secret: Vec::new(),
            negotiated: None,
        })
    }

    /// The reading half of a connection that somebody else writes to.
    pub fn reading(half: impl AsyncRead + Unpin + Send + 'static) -> Self {
        Self {
            stream: Box::new(tokio::io::join(half, tokio::io::sink())),
            buffer: BytesMut::new(),
            place: Place::loopback(0),
            socket: None,
            params: Vec::new(),
            pid: 0,
            secret: Vec::new(),
            negotiated: None,
        }
    }

    /// Logged in with protocol 3.0; fails the test if that is refused.
    pub async fn connect(place: &Place, params: &[(&str, &str)]) -> Self {
        match Self::try_connect(place, params).await {
            Ok(client) => client,
            Err(refused) => panic!("{place:?} {params:?}: {refused:?}"),
        }
    }

    pub async fn try_connect(place: &Place, params: &[(&str, &str)]) -> Result<Self, Refused> {
        let mut client = Self::open(place).await.unwrap();
        client.startup(0, params).await?;
        Ok(client)
    }

    /// Says who we are and reads up to the first ReadyForQuery. A server that asks for a
    /// password, or leaves without a word, fails the test.
    pub async fn startup(&mut self, minor: u16, params: &[(&str, &str)]) -> Result<(), Refused> {
        self.send(&message::startup(minor, params)).await;
        loop {
            let answer = self.next().await.expect("an answer to the startup packet");
            match answer.kind {
                b'R' => assert_eq!(answer.body, [0, 0, 0, 0], "a password was asked for"),
                b'S' => self.params.push(answer.parameter()),
                b'K' => {
                    self.pid = u32::from_be_bytes(answer.body[..4].try_into().unwrap());
                    self.secret = answer.body[4..].to_vec();
                }
                b'v' => self.negotiated = Some(answer.body),
                b'N' => {}
                b'Z' => {
                    assert_eq!(answer.body, b"I");
                    return Ok(());
                }
                b'E' => return Err(Refused::from(&answer)),
                _ => panic!("{answer:?} during startup"),
            }
        }
    }

    /// A server that has closed may refuse the bytes: what it said before is still to be read.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("a server that reads");
    }

    pub async fn read_byte(&mut self) -> u8 {
        timeout(PATIENCE, self.stream.read_u8()).await.expect("an answer in time").unwrap()
    }

    /// The next message; `None`: the end. Cancel safe.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((&[kind, a, b, c, d], rest)) = self.buffer.split_first_chunk::<5>() {
                let length = u32::from_be_bytes([a, b, c, d]) as usize - 4;
                if rest.len() >= length {
                    self.buffer.advance(5);
                    return Some(Message { kind, body: self.buffer.split_to(length).to_vec() });
                }
                self.buffer.reserve(length + 5);
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
            if read.expect("an answer in time").unwrap_or(0) == 0 {
                assert!(self.buffer.is_empty(), "the stream ends in mid-message");
                return None;
            }
        }
    }

    /// Up to and with the next ReadyForQuery, or up to the end.
    pub async fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await {
            let ready = message.kind == b'Z';
            messages.push(message);
            if ready {
                break;
            }
        }
        messages
    }

    /// Reads up to a number of ReadyForQuery and then a message of the type `last`; 0: reads nothing.
    pub async fn hear(&mut self, ready: usize, last: u8) {
        if last == 0 {
            return;
        }
        let mut left = if last == b'Z' { ready.saturating_sub(1) } else { ready };
        loop {
            let message = self.next().await.expect("the end of the stream came first");
            if left == 0 && message.kind == last {
                return;
            }
            left -= usize::from(message.kind == b'Z' && left > 0);
        }
    }

    /// Reads whatever comes until the other side is gone, politely or not.
    pub async fn until_gone(&mut self) {
        let mut sink = vec![0; 1 << 16];
        while timeout(PATIENCE, self.stream.read(&mut sink)).await.expect("an end in time").unwrap_or(0) > 0 {
        }
    }

    /// Leaves with an RST.
    pub fn reset(self) {
        let socket = self.socket.as_ref().expect("TCP");
        socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Says that nothing more will come, and can still read.
    pub async fn half_close(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Everything up to the end of the stream.
    pub async fn until_end(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await {
            messages.push(message);
        }
        messages
    }

    /// A simple query, answered.
    pub async fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send(&message::query(sql)).await;
        self.until_ready().await
    }

    /// The first value of the first row; the error, if there is one.
    pub async fn try_value(&mut self, sql: &str) -> Result<String, Refused> {
        let answer = self.query(sql).await;
        if let Some(error) = answer.iter().find(|message| message.kind == b'E') {
            return Err(Refused::from(error));
        }
        assert_eq!(answer.last().map(|message| message.kind), Some(b'Z'), "{sql}: {answer:?}");
        let row = answer.iter().find(|message| message.kind == b'D').map(Message::row);
        Ok(row.and_then(|row| row.into_iter().next().flatten()).unwrap_or_default())
    }

    pub async fn value(&mut self, sql: &str) -> String {
        self.try_value(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// Terminate, and wait for the other side to close.
    pub async fn leave(mut self) {
        self.send(&message::terminate()).await;
        assert_eq!(self.until_end().await, []);
    }

    /// As libpq does it: a connection of its own, and wait for the other side to close.
    pub async fn cancel(&self) {
        send_cancel(&self.place, self.pid, &self.secret).await;
    }

    /// Whether a parameter was reported, and as what.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn into_stream(self) -> Box<dyn Duplex> {
        assert!(self.buffer.is_empty());
        self.stream
    }
}

/// A CancelRequest, up to the close with which it is answered.
pub async fn send_cancel(place: &Place, pid: u32, secret: &[u8]) {
    let mut canceller = WireClient::open(place).await.unwrap();
    canceller.send(&message::cancel_request(pid, secret)).await;
    assert_eq!(canceller.until_end().await, []);
}
