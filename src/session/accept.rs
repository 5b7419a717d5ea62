//! A shard accepts clients itself: no thread of its own is woken for one, and its socket is registered once,
//! where it is served.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::sleep;
use tracing::warn;

use super::client;
use super::entrance::Entrance;
use super::port::ClientMessage;
use super::shard::Shard;
use crate::net::Stream;

/// Pause when the process has no file descriptor left for another client.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until that is stopped.
pub(super) async fn accept(shard: Rc<Shard>, entrance: Entrance) {
    let entrance = match entrance.open() {
        Ok(entrance) => entrance,
        Err(error) => return warn!(%error, "no client can be accepted"),
    };
    while let Some(came) = entrance.next().await {
        match came {
            Ok((stream, address)) => let_in(&shard, stream, address),
            Err(error) => {
                warn!(%error, "accepting a client failed");
                sleep(PAUSE).await;
            }
        }
    }
}

/// A client stays on this shard, or goes to the one where there is room.
fn let_in(shard: &Rc<Shard>, stream: Stream, address: Option<SocketAddr>) {
    let place = shard.crowd.place();
    if place == shard.index {
        return serve(shard, stream, address);
    }
    if let Ok(stream) = stream.detach() {
        let _ = shard.doors.bring(place, ClientMessage::Accept { stream, address });
    }
}

/// Serves a client that is new on this shard.
pub(super) fn serve(shard: &Rc<Shard>, stream: Stream, address: Option<SocketAddr>) {
    let seat = shard.crowd.enter(shard.index);
    spawn_local(client::serve(shard.clone(), stream, address, seat));
}
