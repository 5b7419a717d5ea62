//! What a user of Vault or OpenBao expects to set by environment; `BAO_` wins over `VAULT_`.

use std::path::PathBuf;
use std::time::Duration;

use super::problem::{Findings, Origin};
use crate::secret::Secret;

/// The variables that are set and not empty.
#[derive(Debug, Default)]
pub(super) struct VaultEnvironment {
    pub(super) address: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) ca_path: Option<PathBuf>,
    pub(super) ca_bytes: Option<String>,
    pub(super) client_cert: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) tls_server_name: Option<String>,
    pub(super) skip_verify: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) token: Option<Secret>,
}

/// Reads the variables through `lookup`; what cannot be understood is an error, never a guess.
pub(super) fn read(lookup: &dyn Fn(&str) -> Option<String>, findings: &mut Findings) -> VaultEnvironment {
    let find = |name: &str| -> Option<(String, String)> {
        ["BAO", "VAULT"].into_iter().find_map(|vendor| {
            let variable = format!("{vendor}_{name}");
            let value = lookup(&variable)?.trim().to_owned();
            (!value.is_empty()).then_some((variable, value))
        })
    };
    let text = |name: &str| find(name).map(|(_, value)| value);
    let path = |name: &str| text(name).map(PathBuf::from);
    VaultEnvironment {
        address: text("AGENT_ADDR").or_else(|| text("ADDR")),
        namespace: text("NAMESPACE"),
        ca_file: path("CACERT"),
        ca_path: path("CAPATH"),
        ca_bytes: text("CACERT_BYTES"),
        client_cert: path("CLIENT_CERT"),
        client_key: path("CLIENT_KEY"),
        tls_server_name: text("TLS_SERVER_NAME"),
        skip_verify: find("SKIP_VERIFY").is_some_and(|(variable, value)| {
            parse_flag(&value).unwrap_or_else(|| {
                let what = format!("{variable} is {value:?}, which is neither true nor false");
                findings.error(&Origin::Variable(variable), what, "set it to true or false, or remove it");
                false
            })
        }),
        timeout: find("CLIENT_TIMEOUT").and_then(|(variable, value)| {
            let timeout = parse_timeout(&value);
            if timeout.is_none() {
                let what = format!("{variable} is {value:?}, which is no duration");
                findings.error(
                    &Origin::Variable(variable),
                    what,
                    "set it to seconds, or to a duration such as 15s",
                );
            }
            timeout
        }),
        token: find("TOKEN").map(|(_, value)| Secret::new(value)),
    }
}

/// The words of Go's strconv.ParseBool, which the vault command uses.
fn parse_flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Seconds, or a duration with a unit; zero means "no limit" to the vault command, which a proxy must not have.
fn parse_timeout(text: &str) -> Option<Duration> {
    let timeout = match text.parse::<u32>() {
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(_) => humantime::parse_duration(text).ok()?,
    };
    (!timeout.is_zero()).then_some(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(variables: &[(&str, &str)]) -> (VaultEnvironment, usize) {
        let mut findings = Findings::default();
        let lookup = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let read = read(&lookup, &mut findings);
        (read, findings.errors.len())
    }

    #[test]
    fn openbaos_spelling_wins_and_empty_variables_count_as_unset() {
        let (read, errors) = read_from(&[
            ("VAULT_ADDR", "https://vault:8200"),
            ("BAO_ADDR", "https://bao:8200"),
            ("BAO_NAMESPACE", ""),
            ("VAULT_NAMESPACE", "team"),
            ("VAULT_TOKEN", "hvs.abc\n"),
            ("VAULT_SKIP_VERIFY", ""),
        ]);
        assert_eq!(errors, 0);
        assert_eq!(read.address.as_deref(), Some("https://bao:8200"));
        assert_eq!(read.namespace.as_deref(), Some("team"));
        assert_eq!(read.token.as_ref().map(Secret::expose), Some("hvs.abc"));
        assert!(!read.skip_verify);
    }

    #[test]
    fn an_agents_address_wins_over_the_servers() {
        let (read, _) =
            read_from(&[("VAULT_ADDR", "https://vault"), ("VAULT_AGENT_ADDR", "http://127.0.0.1:8100")]);
        assert_eq!(read.address.as_deref(), Some("http://127.0.0.1:8100"));
    }

    #[test]
    fn unknown_words_are_errors_and_never_turn_verification_off() {
        for (name, value) in [
            ("VAULT_SKIP_VERIFY", "yes please"),
            ("VAULT_CLIENT_TIMEOUT", "soon"),
            ("BAO_CLIENT_TIMEOUT", "0"),
        ] {
            let (read, errors) = read_from(&[(name, value)]);
            assert_eq!(errors, 1, "{name}");
            assert!(!read.skip_verify);
            assert_eq!(read.timeout, None);
        }
        assert_eq!(read_from(&[("VAULT_CLIENT_TIMEOUT", "20")]).0.timeout, Some(Duration::from_secs(20)));
        assert_eq!(read_from(&[("VAULT_CLIENT_TIMEOUT", "1m")]).0.timeout, Some(Duration::from_secs(60)));
        assert!(read_from(&[("VAULT_SKIP_VERIFY", "1")]).0.skip_verify);
    }
}
