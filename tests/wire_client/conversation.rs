//! A script of client messages, sent without waiting, and everything the server says to it.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::client::WireClient;
use super::message::{Message, query, sync};

/// Only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(30);

const END: &str = "the end of the script";

/// How the client's bytes are cut into writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pieces {
    Whole,
    /// Writes of these lengths, over and over.
    Of(Vec<usize>),
}

/// Plays a script on a fresh connection and returns all answers, up to the answer to a query
/// that we put behind it, or up to the end of the stream. What differs from backend to backend
/// (the sender of a notification) is blanked. The script must leave no COPY unfinished.
pub async fn converse(client: WireClient, script: &[u8], pieces: &Pieces) -> Vec<Message> {
    let mut bytes = script.to_vec();
    bytes.extend(sync());
    bytes.extend(query(&format!("ROLLBACK; SELECT '{END}'")));
    let (reading, mut writing) = tokio::io::split(client.into_stream());
    let pieces = pieces.clone();
    let writer = tokio::spawn(async move {
        let lengths = match pieces {
            Pieces::Whole => vec![bytes.len()],
            Pieces::Of(lengths) => lengths,
        };
        let mut rest = &bytes[..];
        for length in lengths.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*length));
            // A server that has closed refuses the rest, and what it said is what counts.
            if piece.is_empty() || writing.write_all(piece).await.is_err() {
                break;
            }
            rest = after;
            // Lets the other side see the piece before the next one is written.
            tokio::task::yield_now().await;
        }
        writing
    });
    let mut reader = WireClient::reading(reading);
    let mut answers = Vec::new();
    let mut ending = false;
    loop {
        let mut message = match timeout(PATIENCE, reader.next()).await {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(_) => {
                answers.push(Message { kind: b'?', body: b"the server says nothing more".to_vec() });
                break;
            }
        };
        if message.kind == b'A' {
            message.body[..4].fill(0);
        }
        ending |= message.kind == b'D' && message.row() == [Some(END.to_owned())];
        let last = ending && message.kind == b'Z';
        answers.push(message);
        if last {
            break;
        }
    }
    if answers.last().is_some_and(|message| message.kind == b'?') {
        writer.abort();
    }
    if let Ok(mut writing) = writer.await {
        let _ = writing.write_all(&super::message::terminate()).await;
        let _ = writing.shutdown().await;
    }
    answers
}
