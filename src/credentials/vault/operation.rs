//! What a call is for and how it ended, in words of closed sets: no path, no mount and no role in them.

/// The operation that a path stands for.
pub(super) fn operation(path: &str) -> &'static str {
    match path.trim().trim_start_matches('/') {
        "auth/token/lookup-self" => "lookup_token",
        "auth/token/renew-self" => "renew_token",
        "auth/token/revoke-self" => "revoke_token",
        "sys/leases/renew" => "renew_lease",
        "sys/leases/revoke" => "revoke_lease",
        "sys/wrapping/unwrap" => "unwrap",
        path if path.starts_with("auth/") => "login",
        path if path.contains("/creds/") => "issue",
        _ => "other",
    }
}

/// A status of Vault's, other than success, as it is documented.
pub(super) fn status(code: u16) -> &'static str {
    match code {
        400 => "400",
        403 => "403",
        404 => "404",
        405 => "405",
        412 => "412",
        429 => "429",
        472 => "472",
        473 => "473",
        500 => "500",
        502 => "502",
        503 => "503",
        504 => "504",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word() {
        let cases = [
            ("auth/token/lookup-self", "lookup_token"),
            ("/auth/team/approle/login", "login"),
            ("database/creds/app", "issue"),
            ("auth/userpass/login/creds/x", "login"),
            ("sys/leases/revoke", "revoke_lease"),
            ("sys/health", "other"),
        ];
        for (path, expected) in cases {
            assert_eq!(operation(path), expected, "{path}");
        }
    }
}
