//! Where the token may travel.
//!
//! A standby that does not forward answers 307 with the leader's address. One
//! such step is taken, never from https to http, and only to where the
//! operator pointed us or where Vault itself says its leader is.

use url::Url;

/// What to do with a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The operator named that host: go.
    Follow,
    /// Go if `sys/leader` announces that origin.
    AskLeader,
    /// Stay, for this reason.
    Refuse(&'static str),
}

/// Judges a redirect from the address the operator gave.
pub(super) fn judge(operator: &Url, target: &Url) -> Verdict {
    if !matches!(target.scheme(), "http" | "https") {
        return Verdict::Refuse("it leads to something that is not HTTP");
    }
    if operator.scheme() == "https" && target.scheme() != "https" {
        return Verdict::Refuse("it leads from https to http");
    }
    if !target.username().is_empty() || target.password().is_some() {
        return Verdict::Refuse("it carries a user name");
    }
    if same_origin(operator, target) {
        return Verdict::Follow;
    }
    let upgraded = operator.scheme() == "http" && target.scheme() == "https";
    if upgraded && operator.host_str().is_some() && operator.host_str() == target.host_str() {
        return Verdict::Follow;
    }
    Verdict::AskLeader
}

/// Scheme, host and port agree.
pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str().is_some()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_travels_only_where_the_operator_or_the_leader_said() {
        let cases = [
            ("https://vault:8200", "https://vault:8200/v1/x", Verdict::Follow),
            ("https://vault", "https://vault:443/v1/x", Verdict::Follow),
            ("http://vault", "https://vault/v1/x", Verdict::Follow),
            ("http://vault:8200", "https://vault:8200/v1/x", Verdict::Follow),
            ("https://vault:8200", "https://vault:8201/v1/x", Verdict::AskLeader),
            ("https://vault:8200", "https://other:8200/v1/x", Verdict::AskLeader),
            ("http://vault:8200", "https://other:8200/v1/x", Verdict::AskLeader),
            ("https://vault:8200", "http://vault:8200/v1/x", Verdict::Refuse("it leads from https to http")),
            ("https://vault:8200", "https://u@vault:8200/", Verdict::Refuse("it carries a user name")),
            ("https://vault", "ftp://vault/", Verdict::Refuse("it leads to something that is not HTTP")),
        ];
        for (from, to, verdict) in cases {
            assert_eq!(judge(&Url::parse(from).unwrap(), &Url::parse(to).unwrap()), verdict, "{from} {to}");
        }
    }
}
