//! Variables that Kubernetes and Docker put into the environment for a neighbour.
//!
//! Sources: Kubernetes manual, "Service", section "Environment variables"; Docker manual, "Legacy container
//! links", section "Environment variables".

/// Whether a variable has a shape that a Service or a linked container with some name makes.
/// No part of the name before that shape has two underscores: those are ours.
pub(super) fn is_link(variable: &str) -> bool {
    variable.match_indices('_').any(|(at, _)| {
        let (name, rest) = variable.split_at(at);
        is_name(name) && rest.strip_prefix('_').is_some_and(is_shape)
    })
}

/// What follows the neighbour's name.
fn is_shape(rest: &str) -> bool {
    let port = |rest: &str| rest.strip_prefix("PORT_").is_some_and(is_port);
    let service_port = |rest: &str| rest.strip_prefix("SERVICE_PORT_").is_some_and(is_word);
    let inherited = |rest: &str| rest.strip_prefix("ENV_").is_some_and(|variable| !variable.is_empty());
    matches!(rest, "SERVICE_HOST" | "SERVICE_PORT" | "PORT" | "NAME")
        || port(rest)
        || service_port(rest)
        || inherited(rest)
}

/// `6432_TCP`, `6432_TCP_ADDR` and so on; START and END are those of a range of ports.
fn is_port(text: &str) -> bool {
    let mut parts = text.splitn(3, '_');
    let number = parts.next().is_some_and(|number| {
        number.bytes().all(|byte| byte.is_ascii_digit()) && number.parse::<u16>().is_ok()
    });
    let protocol = parts.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"));
    let part = parts.next().is_none_or(|part| {
        matches!(part, "PROTO" | "PORT" | "ADDR" | "START" | "END" | "PORT_START" | "PORT_END")
    });
    number && protocol && part
}

fn is_name(text: &str) -> bool {
    is_word(text) && !text.ends_with('_') && !text.contains("__")
}

/// A name as both write it into a variable: upper case, dashes as underscores.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["LEASEHOLD", "LEASEHOLD_METRICS", "LEASEHOLD_V2_INTERNAL"];

    #[test]
    fn every_shape_is_known_behind_every_name() {
        let shapes = [
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_HTTP",
            "SERVICE_PORT_PG_6432",
            "PORT",
            "PORT_6432_TCP",
            "PORT_53_UDP",
            "PORT_7_SCTP",
            "PORT_6432_TCP_PROTO",
            "PORT_6432_TCP_PORT",
            "PORT_6432_TCP_ADDR",
            "PORT_53_UDP_ADDR",
            "PORT_8000_TCP_START",
            "PORT_8000_TCP_END",
            "PORT_8000_TCP_PORT_START",
            "PORT_8000_TCP_PORT_END",
            "NAME",
            "ENV_PATH",
            "ENV_LEASEHOLD_DATABASES__APP__HOST",
            "ENV_http_proxy",
        ];
        for name in NAMES {
            for shape in shapes {
                assert!(is_link(&format!("{name}_{shape}")), "{name}_{shape}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_a_shape_is_not_one() {
        let shapes = [
            "HOST",
            "PORTS",
            "SERVICE",
            "SERVICE_HOSTS",
            "SERVICE_PORT_",
            "SERVICE_PORT_http",
            "PORT_TCP",
            "PORT_6432",
            "PORT_6432_",
            "PORT_6432_HTTP",
            "PORT_65536_TCP",
            "PORT_+1_TCP",
            "PORT__TCP",
            "PORT_6432_TCP_HOST",
            "PORT_6432_TCP_",
            "ENV",
            "ENV_",
            "NAMES",
            "port",
            "",
        ];
        for name in NAMES {
            for shape in shapes {
                assert!(!is_link(&format!("{name}_{shape}")), "{name}_{shape}");
            }
        }
    }

    #[test]
    fn two_underscores_in_the_name_are_no_link() {
        for variable in [
            "LEASEHOLD__PORT",
            "LEASEHOLD_DATABASES__APP__PORT",
            "LEASEHOLD_DATABASES__APP__HOST_PORT",
            "LEASEHOLD_DATABASES__APP__PORT_6432_TCP",
            "LEASEHOLD_DATABASES__APP_SERVICE_HOST",
            "LEASEHOLD_DATABASES__APP__SERVICE_PORT_X",
            "LEASEHOLD_DATABASES__APP__DB_NAME",
            "LEASEHOLD_DATABASES__APP__ENV_X",
            "LEASEHOLD",
            "_PORT",
        ] {
            assert!(!is_link(variable), "{variable}");
        }
    }
}
