//! Writes messages.

use super::startup::{CancelKey, ProtocolVersion};

/// A growing run of messages.
#[derive(Debug, Default, Clone)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// The bytes written so far.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// One message: type byte, length, and the body that `fill` appends.
    pub fn message(&mut self, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        self.0.push(kind);
        self.sized(fill)
    }

    fn sized(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        let start = self.0.len();
        self.0.extend([0; 4]);
        fill(&mut self.0);
        let length = u32::try_from(self.0.len().saturating_sub(start)).unwrap_or(u32::MAX);
        if let Some(place) = self.0.get_mut(start..).and_then(|tail| tail.first_chunk_mut::<4>()) {
            *place = length.to_be_bytes();
        }
        self
    }

    /// AuthenticationOk.
    pub fn authentication_ok(&mut self) -> &mut Self {
        self.message(b'R', |body| body.extend([0; 4]))
    }

    /// ParameterStatus.
    pub fn parameter_status(&mut self, name: &str, value: &str) -> &mut Self {
        self.message(b'S', |body| {
            put_str(body, name);
            put_str(body, value);
        })
    }

    /// BackendKeyData.
    pub fn backend_key_data(&mut self, key: &CancelKey) -> &mut Self {
        self.message(b'K', |body| {
            body.extend(key.pid.to_be_bytes());
            body.extend(&key.secret);
        })
    }

    /// NegotiateProtocolVersion: the newest minor we speak and the options we do not know.
    pub fn negotiate_protocol_version(&mut self, newest: ProtocolVersion, unknown: &[String]) -> &mut Self {
        self.message(b'v', |body| {
            body.extend((3u32 << 16 | u32::from(newest.minor)).to_be_bytes());
            body.extend(u32::try_from(unknown.len()).unwrap_or(u32::MAX).to_be_bytes());
            for name in unknown {
                put_str(body, name);
            }
        })
    }

    /// ReadyForQuery outside a transaction.
    pub fn ready_idle(&mut self) -> &mut Self {
        self.message(b'Z', |body| body.push(b'I'))
    }

    /// Query.
    pub fn query(&mut self, sql: &str) -> &mut Self {
        self.message(b'Q', |body| put_str(body, sql))
    }

    /// Terminate.
    pub fn terminate(&mut self) -> &mut Self {
        self.message(b'X', |_| {})
    }

    /// StartupMessage of protocol 3.0.
    pub fn startup<'a>(&mut self, params: impl IntoIterator<Item = (&'a str, &'a str)>) -> &mut Self {
        self.sized(|body| {
            body.extend((3u32 << 16).to_be_bytes());
            for (name, value) in params {
                put_str(body, name);
                put_str(body, value);
            }
            body.push(0);
        })
    }

    /// SSLRequest.
    pub fn ssl_request(&mut self) -> &mut Self {
        self.sized(|body| body.extend(80_877_103_u32.to_be_bytes()))
    }

    /// CancelRequest.
    pub fn cancel_request(&mut self, key: &CancelKey) -> &mut Self {
        self.sized(|body| {
            body.extend(80_877_102_u32.to_be_bytes());
            body.extend(key.pid.to_be_bytes());
            body.extend(&key.secret);
        })
    }
}

/// A C string: a NUL inside would end it early, so it is left out.
fn put_str(body: &mut Vec<u8>, text: &str) {
    body.extend(text.bytes().filter(|b| *b != 0));
    body.push(0);
}

/// One Query that takes a session from settings `old` to settings `new`:
/// what is gone is RESET, what differs is set with `set_config`, which takes
/// lists as the startup packet does. `None` if there is nothing to do.
#[must_use]
pub fn align_query<'a>(
    old: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    new: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Option<String> {
    let mut statements = Vec::new();
    for (name, _) in old.clone() {
        if !new.clone().any(|(n, _)| n == name) {
            let name: Vec<String> = name.split('.').map(quote_identifier).collect();
            statements.push(format!("RESET {}", name.join(".")));
        }
    }
    for (name, value) in new {
        if !old.clone().any(|pair| pair == (name, value)) {
            statements.push(format!(
                "SELECT pg_catalog.set_config({}, {}, false)",
                quote_literal(name),
                quote_literal(value)
            ));
        }
    }
    (!statements.is_empty()).then(|| statements.join("; "))
}

/// A string constant that reads the same whatever standard_conforming_strings says.
#[must_use]
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_filled_in() {
        let mut out = Encoder::default();
        out.query("SELECT 1").terminate();
        assert_eq!(out.into_bytes(), b"Q\0\0\0\rSELECT 1\0X\0\0\0\x04");
        let mut out = Encoder::default();
        out.ssl_request();
        assert_eq!(out.into_bytes(), [0, 0, 0, 8, 4, 210, 22, 47]);
    }

    #[test]
    fn aligning_does_only_what_is_needed() {
        let a = [("datestyle", "ISO"), ("search_path", "a, b")];
        let b = [("search_path", "a, 'c'"), ("app.x", r"\")];
        assert_eq!(align_query(a.into_iter(), a.into_iter()), None);
        assert_eq!(
            align_query(a.into_iter(), b.into_iter()).unwrap(),
            r#"RESET "datestyle"; SELECT pg_catalog.set_config('search_path', 'a, ''c''', false); SELECT pg_catalog.set_config('app.x', E'\\', false)"#
        );
        assert_eq!(
            align_query(b.into_iter(), [].into_iter()).unwrap(),
            r#"RESET "search_path"; RESET "app"."x""#
        );
    }
}
