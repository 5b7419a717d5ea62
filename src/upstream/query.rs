//! Our own questions to a server, by simple query, outside the relay.

use std::io;

use tokio::io::AsyncWriteExt;

use super::error::DialError;
use super::messages::Messages;
use crate::net::Stream;
use crate::wire::{DataRow, Encoder, ErrorFields, parameter_status};

/// What came back.
#[derive(Debug, Default)]
pub struct Answer {
    /// All rows of all statements, in text format.
    pub rows: Vec<Vec<Option<String>>>,
    /// Parameters that changed.
    pub params: Vec<(String, String)>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The connection is lost.
    #[error("connection lost: {0}")]
    Io(#[from] io::Error),
    /// The server refused; the connection is still good unless it was FATAL.
    #[error("{} (SQLSTATE {})", .0.message, .0.sqlstate)]
    Refused(Box<ErrorFields>),
}

/// What is asked right after a login is part of it.
impl From<QueryError> for DialError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Io(error) => Self::Io(error),
            QueryError::Refused(fields) => Self::Refused(fields),
        }
    }
}

/// Runs `sql` on a stream that stands idle at a message boundary, and leaves it
/// so. Not cancel safe: close the stream if it was cancelled.
///
/// # Errors
/// [`QueryError`].
pub async fn simple_query(stream: Stream, sql: &str) -> (Option<Stream>, Result<Answer, QueryError>) {
    let mut messages = Messages::new(stream);
    let outcome = Box::pin(run(&mut messages, sql)).await;
    let fatal = match &outcome {
        Ok(_) => false,
        Err(QueryError::Io(_)) => true,
        Err(QueryError::Refused(fields)) => fields.is_fatal(),
    };
    if fatal {
        let _ = messages.stream().shutdown().await;
        return (None, outcome);
    }
    match messages.into_stream() {
        Ok(stream) => (Some(stream), outcome),
        Err(error) => (None, Err(error.into())),
    }
}

async fn run(messages: &mut Messages, sql: &str) -> Result<Answer, QueryError> {
    let mut query = Encoder::default();
    query.query(sql);
    messages.send(&query.into_bytes()).await?;
    let mut answer = Answer::default();
    let mut refused = None;
    loop {
        let (kind, body) = messages.next().await?;
        match kind {
            b'D' => answer.rows.extend(DataRow::parse(&body).map(|row| row.0)),
            b'S' => answer.params.extend(parameter_status(&body)),
            b'E' => {
                let fields = Box::new(ErrorFields::parse(&body));
                if fields.is_fatal() {
                    return Err(QueryError::Refused(fields));
                }
                refused = Some(fields);
            }
            b'Z' => return refused.map_or(Ok(answer), |fields| Err(QueryError::Refused(fields))),
            _ => {}
        }
    }
}
