//! The variables that every Vault client honours, with their usual meaning.
//!
//! <https://developer.hashicorp.com/vault/docs/commands#environment-variables>;
//! OpenBao's `BAO_` spelling of each wins. An empty value counts as not set, as
//! in Vault's own client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cloud_env::CloudEnvironment;
use crate::secret::Secret;

/// What the environment says; a value in the configuration file wins over it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VaultEnvironment {
    /// VAULT_AGENT_ADDR, else VAULT_ADDR.
    pub address: Option<String>,
    /// VAULT_TOKEN.
    pub token: Option<Secret>,
    /// `.vault-token` in HOME, where `vault login` leaves the token; it may not be there.
    pub token_file: Option<PathBuf>,
    /// VAULT_NAMESPACE.
    pub namespace: Option<String>,
    /// VAULT_CACERT.
    pub ca_file: Option<PathBuf>,
    /// VAULT_CACERT_BYTES.
    pub ca_bytes: Option<String>,
    /// VAULT_CAPATH.
    pub ca_path: Option<PathBuf>,
    /// VAULT_CLIENT_CERT.
    pub client_cert: Option<PathBuf>,
    /// VAULT_CLIENT_KEY.
    pub client_key: Option<PathBuf>,
    /// VAULT_SKIP_VERIFY.
    pub skip_verify: Option<bool>,
    /// VAULT_TLS_SERVER_NAME.
    pub tls_server_name: Option<String>,
    /// VAULT_CLIENT_TIMEOUT.
    pub timeout: Option<Duration>,
    /// What the clouds' own variables say.
    pub cloud: CloudEnvironment,
}

/// A variable whose value cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultEnvError {
    /// Not one of Go's `strconv.ParseBool`.
    #[error("{name}={value:?} is neither true nor false; write true or false")]
    Bool {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// Neither seconds nor a duration of Go, or not above zero.
    #[error("{name}={value:?} is no duration; write seconds or e.g. 30s, 1m30s")]
    Duration {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
}

/// Reads the variables through `lookup` (usually `|name| std::env::var(name).ok()`).
pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Result<VaultEnvironment, VaultEnvError> {
    let read = |name: &str| -> Option<(String, String)> {
        ["BAO", "VAULT"].iter().find_map(|brand| {
            let full = format!("{brand}_{name}");
            let value = lookup(&full).filter(|value| !value.is_empty())?;
            Some((full, value))
        })
    };
    let text = |name: &str| read(name).map(|(_, value)| value);
    let path = |name: &str| text(name).map(PathBuf::from);
    let skip_verify = match read("SKIP_VERIFY") {
        None => None,
        Some((name, value)) => match go_bool(&value) {
            Some(skip) => Some(skip),
            None => return Err(VaultEnvError::Bool { name, value }),
        },
    };
    let timeout = match read("CLIENT_TIMEOUT") {
        None => None,
        Some((name, value)) => match go_duration(&value).filter(|timeout| !timeout.is_zero()) {
            Some(timeout) => Some(timeout),
            None => return Err(VaultEnvError::Duration { name, value }),
        },
    };
    Ok(VaultEnvironment {
        address: text("AGENT_ADDR").or_else(|| text("ADDR")),
        token: text("TOKEN").map(Secret::new),
        token_file: lookup("HOME")
            .filter(|home| !home.is_empty())
            .map(|home| Path::new(&home).join(".vault-token")),
        namespace: text("NAMESPACE"),
        ca_file: path("CACERT"),
        ca_bytes: text("CACERT_BYTES"),
        ca_path: path("CAPATH"),
        client_cert: path("CLIENT_CERT"),
        client_key: path("CLIENT_KEY"),
        skip_verify,
        tls_server_name: text("TLS_SERVER_NAME"),
        timeout,
        cloud: CloudEnvironment::read(lookup),
    })
}

/// `strconv.ParseBool`.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Whole seconds, or `time.ParseDuration` without a sign, with `d` as Vault adds it.
fn go_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = tail;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<VaultEnvironment, VaultEnvError> {
        from_environment(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn bao_wins_an_agent_wins_and_empty_is_unset() {
        assert_eq!(read(&[]).unwrap(), VaultEnvironment::default());
        let address = |pairs: &[(&str, &str)]| read(pairs).unwrap().address;
        assert_eq!(address(&[("VAULT_ADDR", "a"), ("BAO_ADDR", "b")]).as_deref(), Some("b"));
        assert_eq!(address(&[("VAULT_ADDR", "a"), ("BAO_ADDR", "")]).as_deref(), Some("a"));
        assert_eq!(address(&[("VAULT_ADDR", "a"), ("VAULT_AGENT_ADDR", "g")]).as_deref(), Some("g"));
        let all = read(&[
            ("VAULT_TOKEN", "t"),
            ("HOME", "/home/me"),
            ("VAULT_NAMESPACE", "n"),
            ("VAULT_CACERT", "/ca"),
            ("VAULT_CACERT_BYTES", "pem"),
            ("VAULT_CAPATH", "/dir"),
            ("VAULT_CLIENT_CERT", "/c"),
            ("VAULT_CLIENT_KEY", "/k"),
            ("VAULT_SKIP_VERIFY", ""),
            ("VAULT_TLS_SERVER_NAME", "v"),
            ("VAULT_CLIENT_TIMEOUT", "1m30s"),
        ])
        .unwrap();
        assert_eq!(all.token.as_ref().map(Secret::expose), Some("t"));
        assert_eq!(all.token_file, Some(PathBuf::from("/home/me/.vault-token")));
        assert_eq!(all.skip_verify, None);
        assert_eq!(all.timeout, Some(Duration::from_secs(90)));
        assert_eq!(all.ca_path, Some(PathBuf::from("/dir")));
        assert_eq!(all.client_key, Some(PathBuf::from("/k")));
        assert!(!format!("{all:?}").contains("\"t\""));
    }

    #[test]
    fn skip_verify_is_gos_bool_and_nothing_else() {
        for (text, value) in [("1", true), ("True", true), ("0", false), ("f", false)] {
            assert_eq!(read(&[("VAULT_SKIP_VERIFY", text)]).unwrap().skip_verify, Some(value));
        }
        for text in ["yes", "no", "on", " true", "2"] {
            assert!(read(&[("VAULT_SKIP_VERIFY", text)]).is_err(), "{text}");
        }
    }

    #[test]
    fn timeouts_are_seconds_or_gos_durations() {
        let good = [
            ("60", 60_000),
            ("1.5s", 1500),
            ("500ms", 500),
            ("1h2m", 3_720_000),
            (".5s", 500),
            ("1d", 86_400_000),
        ];
        for (text, millis) in good {
            assert_eq!(go_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5 s", "-1s", "1x", "1.2.3s", "1e400h", "99999999999999999999999999h"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
        assert!(read(&[("VAULT_CLIENT_TIMEOUT", "0")]).is_err());
    }
}
