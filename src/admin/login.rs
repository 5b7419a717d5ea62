//! What a client is told before its first command.

use super::command::PARAMETERS;
use crate::session::ConsoleClient;
use crate::wire::Encoder;

/// The answer to a StartupMessage, up to ReadyForQuery: no password is asked for.
pub(super) fn welcome(client: &ConsoleClient) -> Vec<u8> {
    let mut out = Encoder::default();
    if client.asked != client.version || !client.unknown_options.is_empty() {
        out.negotiate_protocol_version(client.version, &client.unknown_options);
    }
    out.authentication_ok();
    for (name, value) in PARAMETERS {
        out.parameter_status(name, value);
    }
    let own = |name: &str| client.params.get(name).unwrap_or("");
    out.parameter_status("application_name", own("application_name"));
    out.parameter_status("session_authorization", own("user"));
    out.parameter_status("is_superuser", "off");
    out.backend_key_data(client.key.key());
    out.ready_idle();
    out.into_bytes()
}
