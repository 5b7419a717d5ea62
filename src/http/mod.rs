//! HTTP for whoever watches from outside: probes, the status, metrics, and a way to end the proxy.
//!
//! Reads snapshots and decides nothing about users or clients. [`HttpServer`] drives, on the control
//! runtime, with hyper below it; what decides is plain: `rules` (is service started, alive, ready),
//! `status` (a snapshot as JSON),
//! `metrics` (a snapshot as Prometheus reads it), `page` (what a browser shows), `answer` (a request to a response). Every path and field is specified
//! in `docs/http.md`.
#![deny(clippy::indexing_slicing)]

mod answer;
mod metrics;
mod page;
mod rules;
mod server;
mod settings;
mod status;

pub use server::{BoundHttp, HttpError, HttpServer};
pub use settings::HttpSettings;
