//! A stream without a socket, for tests and benchmarks: what is read comes in the pieces that it was put in, and
//! nobody is woken.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    pieces: VecDeque<Vec<u8>>,
    /// How many bytes may still be written.
    room: usize,
    closed: bool,
}

/// One end of two lanes; dropping it closes both.
#[derive(Debug)]
pub(crate) struct Memory {
    reads: Arc<Mutex<Lane>>,
    writes: Arc<Mutex<Lane>>,
}

/// Two ends of one stream; neither may write before it is [given room](Memory::give_room).
pub(crate) fn memory_pair() -> (Memory, Memory) {
    let (one, other) = (Arc::new(Mutex::default()), Arc::new(Mutex::default()));
    (Memory { reads: one.clone(), writes: other.clone() }, Memory { reads: other, writes: one })
}

fn lock(lane: &Mutex<Lane>) -> MutexGuard<'_, Lane> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// A piece for the other end, however much room there is.
    pub(crate) fn put(&self, piece: &[u8]) {
        if !piece.is_empty() {
            lock(&self.writes).pieces.push_back(piece.to_vec());
        }
    }

    /// All that the other end wrote.
    pub(crate) fn take(&self) -> Vec<u8> {
        lock(&self.reads).pieces.drain(..).flatten().collect()
    }

    /// From now on the other end may write so much.
    pub(crate) fn give_room(&self, bytes: usize) {
        lock(&self.reads).room = bytes;
    }

    /// Whether the other end has read everything.
    pub(crate) fn is_read(&self) -> bool {
        lock(&self.writes).pieces.is_empty()
    }

    /// Whether the other end is gone.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.reads).closed
    }

    pub(super) fn poll_read(&self, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut lane = lock(&self.reads);
        let Some(mut piece) = lane.pieces.pop_front() else {
            return if lane.closed { Poll::Ready(Ok(0)) } else { Poll::Pending };
        };
        let length = piece.len().min(buf.len());
        buf[..length].copy_from_slice(&piece[..length]);
        let rest = piece.split_off(length);
        if !rest.is_empty() {
            lane.pieces.push_front(rest);
        }
        Poll::Ready(Ok(length))
    }

    pub(super) fn poll_write(&self, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut lane = lock(&self.writes);
        if lane.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let length = buf.len().min(lane.room);
        if length == 0 {
            return Poll::Pending;
        }
        lane.room = lane.room.saturating_sub(length);
        lane.pieces.push_back(buf[..length].to_vec());
        Poll::Ready(Ok(length))
    }

    pub(super) fn poll_news(&self) -> Poll<()> {
        let lane = lock(&self.reads);
        if lane.closed || !lane.pieces.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        lock(&self.reads).closed = true;
        lock(&self.writes).closed = true;
    }
}
