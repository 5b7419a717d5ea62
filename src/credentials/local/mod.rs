//! The embedded issuer: it makes, extends and drops users itself, through one
//! admin connection, with Vault's statement templates and lease arithmetic.
//!
//! - The password never travels: `{{password}}` is filled with its
//!   SCRAM-SHA-256 verifier, which `PASSWORD '…'` takes as it is and which both
//!   `scram-sha-256` and `md5` lines of pg_hba.conf accept. So neither the
//!   server's log nor pg_stat_statements can hold a password.
//! - `VALID UNTIL` is the end of the lease plus 5 s, on the server's clock, as
//!   Vault has it. Nobody drops a user whose proxy died before revoking it: it
//!   cannot log in past that moment, and [`crate::credentials::Source::recover`] of the next
//!   start removes it.
//! - The longest life counts from the issue; a renewal gets what is left of it.
//!
//! The admin user needs CREATEROLE and, for each role that the statements
//! grant, ADMIN OPTION on it.

mod admin;
mod identity;
mod settings;
mod source;
mod template;

pub use settings::LocalSettings;
pub use source::LocalSource;
