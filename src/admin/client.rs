//! One client of the console: messages in, handlers of pgwire, answers out.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use pgwire::api::{ClientInfo, DefaultClient, NoopHandler, PgWireConnectionState};
use pgwire::error::PgWireError;
use pgwire::messages::{DecodeContext, PgWireFrontendMessage, ProtocolVersion};
use pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::codec::Framed;

use super::clerk::Clerk;
use super::command::Command;
use super::desk::Desk;
use super::frame::{self, Frame, FrameError};
use super::rights::Origin;
use super::{login, refusal};
use crate::net::Stream;
use crate::session::ConsoleClient;

/// What is read at a time.
const PIECE: usize = 4 * 1024;
/// More rows than any table has; pgwire sets memory aside for as many as a client says.
const MOST_ROWS: i32 = 1_000_000;

/// The write side of pgwire; reading is done here, where lengths are checked first.
type Socket = Framed<Stream, PgWireMessageServerCodec<Command>>;

/// Serves one client until it goes. Its cancel key is valid as long.
pub(super) async fn serve(client: ConsoleClient, desk: Arc<Desk>) -> io::Result<()> {
    let welcome = login::welcome(&client);
    let ConsoleClient { stream, early, version, key: _key, address, .. } = client;
    let mut stream = stream.attach()?;
    stream.write_all(&welcome).await?;
    stream.flush().await?;
    let origin = match address {
        Some(_) => Origin::Tcp,
        None => Origin::Unix(stream.peer_uid()),
    };
    let clerk = Arc::new(Clerk { desk: Arc::clone(&desk), origin });

    // A client on the Unix socket has no address; pgwire wants one and does nothing with it.
    let address = address.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let version = match version.minor {
        0 | 1 => ProtocolVersion::PROTOCOL3_0,
        _ => ProtocolVersion::PROTOCOL3_2,
    };
    let mut info = DefaultClient::new(address, false);
    info.set_protocol_version(version);
    info.set_state(PgWireConnectionState::ReadyForQuery);
    let mut socket = Framed::new(stream, PgWireMessageServerCodec::new(info));
    let mut context = DecodeContext::new(version);
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = false;

    let mut input = Input { buffer: BytesMut::from(&early[..]), context };
    loop {
        let message = match input.next(socket.get_mut()).await? {
            Next::Message(message) => message,
            Next::Left => return Ok(()),
            Next::Broken(why) => return say_last(socket.into_inner(), why).await,
        };
        // The end of a message that is answered, and flushed: Sync, or what is no part of the extended protocol.
        let last = !message.is_extended_query() || matches!(message, PgWireFrontendMessage::Sync(_));
        if let Err(error) = answer(&mut socket, message, &clerk).await? {
            let (error, extended) = *error;
            // The stream ends with it: closing only its write side would wait for the client.
            let fatal = error.is_fatal();
            process_error(&mut socket, error, extended).await?;
            if fatal {
                return Ok(());
            }
        }
        if last {
            desk.orders.leave_if_asked();
        }
    }
}

/// Has pgwire answer one message. The inner error is the client's to hear.
async fn answer(
    socket: &mut Socket,
    message: PgWireFrontendMessage,
    clerk: &Arc<Clerk>,
) -> io::Result<Result<(), Box<(PgWireError, bool)>>> {
    let nobody = Arc::new(NoopHandler);
    let extended = message.is_extended_query();
    let done = process_message(
        message,
        socket,
        Arc::clone(&nobody),
        Arc::clone(clerk),
        Arc::clone(clerk),
        Arc::clone(&nobody),
        nobody,
    );
    match Box::pin(done).await {
        Ok(()) => Ok(Ok(())),
        Err(PgWireError::IoError(error)) => Err(error),
        Err(error) => Ok(Err(Box::new((error, extended)))),
    }
}

async fn say_last(mut stream: Stream, why: FrameError) -> io::Result<()> {
    stream.write_all(&refusal::bad_frame(why).encode()).await?;
    stream.shutdown().await
}

/// What comes next from a client.
enum Next {
    Message(PgWireFrontendMessage),
    /// It said goodbye or is gone.
    Left,
    /// The stream cannot be followed any further.
    Broken(FrameError),
}

struct Input {
    /// What was read and not taken yet; first what came behind the startup packet.
    buffer: BytesMut,
    context: DecodeContext,
}

impl Input {
    /// The next message. Cancel safe: what was read stays in the buffer.
    async fn next(&mut self, stream: &mut Stream) -> io::Result<Next> {
        loop {
            match frame::next(&mut self.buffer) {
                Ok(Some(Frame::Message(mut frame))) => {
                    return Ok(match PgWireFrontendMessage::decode(&mut frame, &self.context) {
                        Ok(Some(PgWireFrontendMessage::Terminate(_))) => Next::Left,
                        Ok(Some(message)) => Next::Message(bound(message)),
                        Ok(None) | Err(_) => Next::Broken(FrameError::Layout),
                    });
                }
                Ok(Some(Frame::Stray)) => continue,
                Ok(None) => {}
                Err(why) => return Ok(Next::Broken(why)),
            }
            self.buffer.reserve(PIECE);
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(Next::Left);
            }
        }
    }
}

/// A row limit that is none, or that no table reaches, is no limit.
fn bound(mut message: PgWireFrontendMessage) -> PgWireFrontendMessage {
    if let PgWireFrontendMessage::Execute(execute) = &mut message
        && !(1..=MOST_ROWS).contains(&execute.max_rows)
    {
        execute.max_rows = 0;
    }
    message
}
