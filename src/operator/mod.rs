//! What an operator asks a running proxy on the command line: `leasehold status` and `leasehold top`.
//!
//! Both read `/status` (`docs/http.md`) as anybody may and know nothing else of the proxy, which may be of
//! another version. What decides is plain: `place` (where to ask), `report` (what came), `text` (in words),
//! `top/state` and `top/view`. `ask`, `status` and `top/drive` wait.
#![deny(clippy::indexing_slicing)]

mod ask;
mod place;
mod report;
mod status;
mod text;
mod top;
mod units;

pub use place::{Place, PlaceError};
pub use status::{Standing, StatusOptions, status};
pub use top::{TopError, top};
