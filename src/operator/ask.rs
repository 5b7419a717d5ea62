//! One question to a proxy: GET /status, in bounded time.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::place::Place;
use super::report::{NotStatus, Report};

/// How long an answer may take. The proxy itself waits at most a second for its data threads.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read: that of some thousands of databases.
const LONGEST: usize = 64 << 20;

/// What a proxy said: as it came, and read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) report: Report,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("cannot connect: {0}")]
    Connect(#[source] std::io::Error),
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    #[error("no proper answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
    #[error("the answer is not complete: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it answers {0}")]
    Refused(StatusCode),
    #[error(transparent)]
    NotStatus(#[from] NotStatus),
}

/// Asks once; takes at most [`PATIENCE`]. Cancel safe.
pub(super) async fn ask(place: &Place) -> Result<Answer, AskError> {
    ask_within(place, PATIENCE).await
}

async fn ask_within(place: &Place, patience: Duration) -> Result<Answer, AskError> {
    let body = timeout(patience, fetch(place)).await.map_err(|_| AskError::Late(patience))??;
    let text = String::from_utf8_lossy(&body).into_owned();
    let report = Report::read(&text)?;
    Ok(Answer { text, report })
}

async fn fetch(place: &Place) -> Result<Bytes, AskError> {
    let stream = TcpStream::connect(place.address()).await.map_err(AskError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(place.status_path())
        .header(HOST, place.authority())
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let talk = async move {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(AskError::Refused(response.status()));
        }
        let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(AskError::Body)?;
        Ok(body.to_bytes())
    };
    let mut talk = pin!(talk);
    tokio::select! {
        said = &mut talk => said,
        // What went wrong with the connection the talk is told too.
        _ = connection => talk.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What is made of an answer of these bytes.
    async fn asked(answer: &'static [u8]) -> Result<Answer, AskError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place::from_listen(listener.local_addr().ok()).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            assert!(head.starts_with(b"GET /status HTTP/1.1\r\nhost: 127.0.0.1:"));
            stream.write_all(answer).await.unwrap();
        };
        tokio::join!(ask(&place), serve).0
    }

    #[tokio::test]
    async fn an_answer_is_read_and_anything_else_is_an_error() {
        let good = asked(b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"ready\":true}").await.unwrap();
        assert!(good.report.ready && good.text == "{\"ready\":true}");
        let cases: &[(&[u8], &str)] = &[
            (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "it answers 503"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"ready\":", "not complete"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "no status of Leasehold"),
            (b"SSH-2.0-OpenSSH_9\r\n", "no proper answer"),
            (b"", "no proper answer"),
        ];
        for (answer, expected) in cases {
            let error = asked(answer).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_said_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place::from_listen(listener.local_addr().ok()).unwrap();
        drop(listener);
        assert!(matches!(ask(&place).await, Err(AskError::Connect(_))));
    }

    #[tokio::test]
    async fn one_that_says_nothing_is_not_waited_for_longer_than_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place::from_listen(listener.local_addr().ok()).unwrap();
        let asked = ask_within(&place, Duration::from_millis(50)).await;
        assert!(matches!(asked, Err(AskError::Late(_))));
    }
}
