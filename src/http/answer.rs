//! From a request to a response.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

use super::metrics;
use super::page;
use super::rules::{self, Verdict};
use super::status::Status;
use crate::snapshot::{Depth, Watched};

/// What a client gets, and whether the proxy is to stop when it has got it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Full<Bytes>>,
    pub(super) quit: bool,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Picture,
    Startup,
    Live,
    Ready,
    Status,
    Metrics,
    Quit,
}

/// Every path, with what is allowed there.
const PAGES: &[(&str, Page, &str)] = &[
    ("/", Page::Picture, "GET, HEAD"),
    ("/startupz", Page::Startup, "GET, HEAD"),
    ("/livez", Page::Live, "GET, HEAD"),
    ("/readyz", Page::Ready, "GET, HEAD"),
    ("/status", Page::Status, "GET, HEAD"),
    ("/metrics", Page::Metrics, "GET, HEAD"),
    ("/quitquitquit", Page::Quit, "POST"),
];

/// Why a request is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("no such page")]
    NoPage,
    #[error("this method is not allowed here")]
    Method(&'static str),
    #[error("only a program on the proxy's own host may stop it, and no page in a browser")]
    NotYours,
}

/// Answers a request of `peer`; takes at most as long as a look. Cancel safe.
pub(super) async fn answer(
    watched: &Watched,
    peer: SocketAddr,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Answer {
    let page = match choose(peer, method, path, headers) {
        Ok(page) => page,
        Err(refusal) => return Answer { response: refuse(refusal), quit: false },
    };
    let response = match page {
        Page::Picture => picture(),
        Page::Startup => probe(&rules::started(&watched.look(Depth::Users).await)),
        Page::Live => probe(&rules::alive(&watched.look(Depth::Threads).await)),
        Page::Ready => {
            let snapshot = watched.look(Depth::Users).await;
            probe(&rules::ready(&snapshot, snapshot.now.boot))
        }
        Page::Status => json_of(StatusCode::OK, &Status::of(&watched.look(Depth::Clients).await)),
        Page::Metrics => match metrics::text_of(watched.look(Depth::Counts).await) {
            Ok(text) => page_of(StatusCode::OK, metrics::CONTENT_TYPE, text.into()),
            Err(error) => json_of(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error.to_string() })),
        },
        Page::Quit => json_of(StatusCode::OK, &json!({ "stopping": true })),
    };
    Answer { response, quit: page == Page::Quit }
}

fn choose(peer: SocketAddr, method: &Method, path: &str, headers: &HeaderMap) -> Result<Page, Refusal> {
    let (_, page, allowed) = PAGES.iter().find(|(known, ..)| *known == path).ok_or(Refusal::NoPage)?;
    if !allowed.split(", ").any(|allowed| method == allowed) {
        return Err(Refusal::Method(allowed));
    }
    // A browser says whose page it is that posts; nobody else sends that.
    let outside = !peer.ip().to_canonical().is_loopback() || headers.contains_key(ORIGIN);
    if *page == Page::Quit && outside {
        return Err(Refusal::NotYours);
    }
    Ok(*page)
}

fn probe(verdict: &Verdict) -> Response<Full<Bytes>> {
    let status = if verdict.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_of(status, verdict)
}

fn refuse(refusal: Refusal) -> Response<Full<Bytes>> {
    let status = match refusal {
        Refusal::NoPage => StatusCode::NOT_FOUND,
        Refusal::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::NotYours => StatusCode::FORBIDDEN,
    };
    let pages: Vec<&str> = PAGES.iter().map(|(path, ..)| *path).collect();
    let mut response = json_of(status, &json!({ "error": refusal.to_string(), "pages": pages }));
    if let Refusal::Method(allowed) = refusal {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

fn picture() -> Response<Full<Bytes>> {
    let (text, headers) = page::page();
    let mut response = page_of(StatusCode::OK, page::CONTENT_TYPE, text.into());
    response.headers_mut().extend(headers);
    response
}

fn json_of(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let (status, mut text) = match serde_json::to_vec_pretty(value) {
        Ok(text) => (status, text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, b"{}".to_vec()),
    };
    text.push(b'\n');
    page_of(status, "application/json", text.into())
}

fn page_of(status: StatusCode, kind: &'static str, text: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_for_one_page_or_refused() {
        let (near, far) = ("127.0.0.1:1", "10.0.0.7:1");
        let get = Refusal::Method("GET, HEAD");
        let cases = [
            (near, "GET", "/livez", Ok(Page::Live)),
            (far, "HEAD", "/readyz", Ok(Page::Ready)),
            (far, "GET", "/startupz", Ok(Page::Startup)),
            (far, "GET", "/status", Ok(Page::Status)),
            (far, "GET", "/metrics", Ok(Page::Metrics)),
            (near, "POST", "/status", Err(get)),
            (near, "DELETE", "/livez", Err(get)),
            (near, "GET", "/", Ok(Page::Picture)),
            (far, "HEAD", "/", Ok(Page::Picture)),
            (near, "POST", "/", Err(get)),
            (near, "GET", "/index.html", Err(Refusal::NoPage)),
            (near, "GET", "/livez/", Err(Refusal::NoPage)),
            (near, "GET", "/LIVEZ", Err(Refusal::NoPage)),
            (near, "OPTIONS", "*", Err(Refusal::NoPage)),
            (near, "POST", "/quitquitquit", Ok(Page::Quit)),
            ("[::1]:1", "POST", "/quitquitquit", Ok(Page::Quit)),
            ("[::ffff:127.0.0.1]:1", "POST", "/quitquitquit", Ok(Page::Quit)),
            (far, "POST", "/quitquitquit", Err(Refusal::NotYours)),
            ("[::ffff:10.0.0.7]:1", "POST", "/quitquitquit", Err(Refusal::NotYours)),
            ("[fe80::1]:1", "POST", "/quitquitquit", Err(Refusal::NotYours)),
            (near, "GET", "/quitquitquit", Err(Refusal::Method("POST"))),
        ];
        for (peer, method, path, expected) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let found = choose(peer.parse().unwrap(), &method, path, &HeaderMap::new());
            assert_eq!(found, expected, "{peer} {method} {path}");
        }
        let browser = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("http://127.0.0.1:9127"))]);
        let post = choose(near.parse().unwrap(), &Method::POST, "/quitquitquit", &browser);
        assert_eq!(post, Err(Refusal::NotYours));
    }
}
