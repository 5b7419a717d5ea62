//! The first packet of a connection, which has no type byte.
//!
//! Source: PostgreSQL manual, "Message Formats": StartupMessage, SSLRequest,
//! GSSENCRequest, CancelRequest; limits from `ProcessStartupPacket`.

use std::collections::BTreeMap;

/// PostgreSQL's own limit for a startup packet, length included.
pub const MAX_STARTUP_PACKET: usize = 10_000;
const MIN_STARTUP_PACKET: usize = 8;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// Major 3, this minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProtocolVersion {
    /// 0 or 2 are in use; a client may ask for any.
    pub minor: u16,
}

/// What CancelRequest must quote: a process id and a secret of 4 bytes
/// (protocol 3.0) to 256 bytes (3.2).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CancelKey {
    /// The process id the client was told.
    pub pid: u32,
    /// The secret the client was told.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelKey {{ pid: {}, secret: … }}", self.pid)
    }
}

/// The parameters of a StartupMessage, in the client's order, `user` and
/// `database` included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StartupParams(Vec<(String, String)>);

impl StartupParams {
    /// The value of a parameter; the last one wins, as in PostgreSQL.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Every parameter in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }
}

/// What a client's first packet asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Opening {
    /// TLS, to be answered with one byte.
    Ssl,
    /// GSSAPI encryption, to be answered with one byte.
    Gss,
    /// Cancel what the holder of this key runs.
    Cancel(CancelKey),
    /// A session.
    Startup {
        /// The protocol it would like.
        version: ProtocolVersion,
        /// Its parameters.
        params: StartupParams,
        /// Names of `_pq_.` protocol options, none of which we know.
        unknown_options: Vec<String>,
    },
}

/// A first packet that is none of the protocol's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// The length is outside 8..=10000.
    #[error("invalid length of startup packet")]
    Length,
    /// A protocol other than 3.
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2")]
    Version {
        /// Asked for.
        major: u16,
        /// Asked for.
        minor: u16,
    },
    /// No terminator, an odd number of strings, or bytes behind the end.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    /// A parameter that is not UTF-8.
    #[error("startup packet holds a parameter that is not valid UTF-8")]
    Encoding,
}

/// The whole packet's length, once its first four bytes are there.
///
/// # Errors
/// [`StartupError::Length`] if it cannot be one.
pub fn startup_packet_len(bytes: &[u8]) -> Result<Option<usize>, StartupError> {
    let Some((length, _)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if (MIN_STARTUP_PACKET..=MAX_STARTUP_PACKET).contains(&length) {
        Ok(Some(length))
    } else {
        Err(StartupError::Length)
    }
}

/// Reads a whole first packet, length included.
///
/// # Errors
/// [`StartupError`], worded as PostgreSQL words it.
pub fn opening(packet: &[u8]) -> Result<Opening, StartupError> {
    let (_, rest) = packet.split_first_chunk::<4>().ok_or(StartupError::Length)?;
    let (code, rest) = rest.split_first_chunk::<4>().ok_or(StartupError::Length)?;
    match u32::from_be_bytes(*code) {
        SSL_REQUEST => Ok(Opening::Ssl),
        GSSENC_REQUEST => Ok(Opening::Gss),
        CANCEL_REQUEST => {
            let (pid, secret) = rest.split_first_chunk::<4>().ok_or(StartupError::Length)?;
            if secret.is_empty() || secret.len() > 256 {
                return Err(StartupError::Length);
            }
            Ok(Opening::Cancel(CancelKey { pid: u32::from_be_bytes(*pid), secret: secret.to_vec() }))
        }
        code => {
            let [a, b, c, d] = code.to_be_bytes();
            let (major, minor) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            if major != 3 {
                return Err(StartupError::Version { major, minor });
            }
            let (params, unknown_options) = parse_params(rest)?;
            Ok(Opening::Startup { version: ProtocolVersion { minor }, params, unknown_options })
        }
    }
}

fn parse_params(bytes: &[u8]) -> Result<(StartupParams, Vec<String>), StartupError> {
    let Some((0, body)) = bytes.split_last() else {
        return Err(StartupError::Layout);
    };
    let mut strings = body.split(|b| *b == 0);
    let mut params = Vec::new();
    let mut unknown = Vec::new();
    loop {
        let (Some(name), value) = (strings.next(), strings.next()) else {
            return Ok((StartupParams(params), unknown));
        };
        if name.is_empty() {
            // An empty name ends the list: nothing may follow it.
            return if value.is_none() {
                Ok((StartupParams(params), unknown))
            } else {
                Err(StartupError::Layout)
            };
        }
        let value = value.ok_or(StartupError::Layout)?;
        let name = String::from_utf8(name.to_vec()).map_err(|_| StartupError::Encoding)?;
        let value = String::from_utf8(value.to_vec()).map_err(|_| StartupError::Encoding)?;
        if name.starts_with("_pq_.") {
            unknown.push(name);
        } else {
            params.push((name, value));
        }
    }
}

/// Splits the startup parameter `options` into settings: `-c name=value` and
/// `--name=value`, words separated by white space, a backslash takes the next
/// character as it is (`pg_split_opts`; dashes in names become underscores). Of the
/// single-letter switches, `-e`, `-f` and `-S`.
///
/// # Errors
/// The word that is none of these.
pub fn parse_options(options: &str) -> Result<BTreeMap<String, String>, String> {
    let mut words = split_words(options).into_iter();
    let mut settings = BTreeMap::new();
    while let Some(word) = words.next() {
        if let Some((name, value)) = switch(&word, &mut words)? {
            settings.insert(name.to_owned(), value);
            continue;
        }
        let assignment = if word == "-c" {
            words.next().ok_or(word)?
        } else if let Some(rest) = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            rest.to_owned()
        } else {
            return Err(word);
        };
        match assignment.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                settings.insert(name.replace('-', "_"), value.to_owned());
            }
            _ => return Err(assignment),
        }
    }
    Ok(settings)
}

/// The single-letter switches that set something anybody may set ("Short Options" in the
/// manual's chapter "Server Configuration"); `None`: another word.
fn switch(
    word: &str,
    words: &mut impl Iterator<Item = String>,
) -> Result<Option<(&'static str, String)>, String> {
    let argument = |rest: &str, words: &mut dyn Iterator<Item = String>| match rest {
        "" => words.next().ok_or_else(|| word.to_owned()),
        rest => Ok(rest.to_owned()),
    };
    if word == "-e" {
        return Ok(Some(("datestyle", "euro".to_owned())));
    }
    if let Some(rest) = word.strip_prefix("-S") {
        return Ok(Some(("work_mem", argument(rest, words)?)));
    }
    let Some(rest) = word.strip_prefix("-f") else { return Ok(None) };
    let name = match argument(rest, words)?.as_str() {
        "s" => "enable_seqscan",
        "i" => "enable_indexscan",
        "o" => "enable_indexonlyscan",
        "b" => "enable_bitmapscan",
        "t" => "enable_tidscan",
        "n" => "enable_nestloop",
        "m" => "enable_mergejoin",
        "h" => "enable_hashjoin",
        _ => return Err(word.to_owned()),
    };
    Ok(Some((name, "off".to_owned())))
}

fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c.is_ascii_whitespace() {
            words.extend(word.take());
        } else {
            let c = if c == '\\' { chars.next() } else { Some(c) };
            word.get_or_insert_default().extend(c);
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(code: u32, body: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
        out.extend(code.to_be_bytes());
        out.extend(body);
        out
    }

    #[test]
    fn first_packets_are_told_apart() {
        assert_eq!(opening(&packet(SSL_REQUEST, b"")), Ok(Opening::Ssl));
        assert_eq!(opening(&packet(GSSENC_REQUEST, b"")), Ok(Opening::Gss));
        assert_eq!(
            opening(&packet(CANCEL_REQUEST, &[0, 0, 0, 7, 1, 2, 3, 4])),
            Ok(Opening::Cancel(CancelKey { pid: 7, secret: vec![1, 2, 3, 4] }))
        );
        assert_eq!(
            opening(&packet(2 << 16, b"user\0u\0\0")),
            Err(StartupError::Version { major: 2, minor: 0 })
        );
        assert_eq!(opening(&packet(CANCEL_REQUEST, &[0, 0, 0, 7])), Err(StartupError::Length));
    }

    #[test]
    fn startup_parameters_keep_their_order_and_the_last_one_wins() {
        let Opening::Startup { version, params, unknown_options } = opening(&packet(
            (3 << 16) | 2,
            b"user\0u\0database\0d\0_pq_.future\0on\0DateStyle\0ISO\0database\0e\0\0",
        ))
        .unwrap() else {
            panic!("not a startup message")
        };
        assert_eq!(version.minor, 2);
        assert_eq!(params.get("database"), Some("e"));
        assert_eq!(unknown_options, ["_pq_.future"]);
        assert_eq!(
            params.iter().map(|(n, _)| n).collect::<Vec<_>>(),
            ["user", "database", "DateStyle", "database"]
        );
    }

    #[test]
    fn broken_layouts_are_refused() {
        for body in [&b""[..], b"user\0u", b"user\0", b"user\0u\0\0x\0\0"] {
            assert!(opening(&packet(3 << 16, body)).is_err(), "{body:?}");
        }
        for length in [0u32, 7, 10_001] {
            assert_eq!(startup_packet_len(&length.to_be_bytes()), Err(StartupError::Length));
        }
    }

    #[test]
    fn options_are_split_as_postgres_splits_them() {
        let parsed = parse_options(r"-c search_path=a,\ b --work-mem=8MB -cgeqo=off").unwrap();
        assert_eq!(parsed.get("search_path").unwrap(), "a, b");
        assert_eq!(parsed.get("work_mem").unwrap(), "8MB");
        assert_eq!(parsed.get("geqo").unwrap(), "off");
        let switches = parse_options("-e -fh -f n -S 2048").unwrap();
        let expected = [
            ("datestyle", "euro"),
            ("enable_hashjoin", "off"),
            ("enable_nestloop", "off"),
            ("work_mem", "2048"),
        ];
        assert!(switches.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected));
        assert_eq!(parse_options("-fx"), Err("-fx".into()));
        assert_eq!(parse_options("-d 5"), Err("-d".into()));
        assert_eq!(parse_options("-c"), Err("-c".into()));
        assert_eq!(parse_options("-c geqo"), Err("geqo".into()));
    }

    proptest! {
        #[test]
        fn no_packet_can_panic_it(bytes in prop::collection::vec(any::<u8>(), 0..200), options in ".*") {
            let _ = startup_packet_len(&bytes);
            let _ = opening(&bytes);
            let _ = opening(&packet(3 << 16, &bytes));
            let _ = parse_options(&options);
        }
    }
}
