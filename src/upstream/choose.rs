//! Finds the host that takes a connection, and fits.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::info;

use super::attrs::{Fit, STATE_QUERY, ServerState, SessionAttrs};
use super::dial::{Connected, log_in};
use super::error::DialError;
use super::query::simple_query;
use super::target::Target;
use crate::secret::Secret;
use crate::wire::Encoder;

/// Connects and logs in at the first host that fits, beginning with the one that did so last, with
/// `extra` parameters in the startup message beside user, database and role. Bounded by
/// `connect_timeout` as a whole, of which each host has a share. Cancel safe: a dropped attempt closes
/// its socket.
///
/// # Errors
/// [`DialError`]; of several hosts [`DialError::Hosts`].
pub async fn dial(
    target: &Target,
    user: &str,
    password: &Secret,
    extra: &[(String, String)],
) -> Result<Connected, DialError> {
    let order = target.hosts().order(Instant::now());
    let mut left = target.settings().connect_timeout;
    let mut passed: Vec<(usize, DialError)> = Vec::new();
    let mut spare: Option<Connected> = None;
    for (tried, host) in order.iter().copied().enumerate() {
        let begun = Instant::now();
        if spare.is_some() && target.hosts().failed_lately(host, begun) {
            continue;
        }
        let share = share_of(left, order.len().saturating_sub(tried));
        match attempt(target, host, share, user, password, extra).await {
            Ok((connected, Fit::Well)) => {
                spare.into_iter().for_each(leave);
                return Ok(settle(target, connected, passed));
            }
            Ok((connected, _)) if spare.is_none() => spare = Some(connected),
            Ok((connected, _)) => leave(connected),
            Err(error) => passed.push((host, error)),
        }
        left = left.saturating_sub(begun.elapsed());
    }
    match spare {
        Some(connected) => Ok(settle(target, connected, passed)),
        None => Err(no_host(target, passed)),
    }
}

/// Connects and logs in at this host and no other, whatever it is, within `limit`. Cancel safe.
///
/// # Errors
/// [`DialError`].
pub async fn dial_host(
    target: &Target,
    host: usize,
    limit: Duration,
    user: &str,
    password: &Secret,
) -> Result<Connected, DialError> {
    let logged_in = timeout(limit, Box::pin(log_in(target, host, user, password, &[]))).await;
    logged_in.unwrap_or(Err(DialError::Timeout(limit)))
}

async fn attempt(
    target: &Target,
    host: usize,
    limit: Duration,
    user: &str,
    password: &Secret,
    extra: &[(String, String)],
) -> Result<(Connected, Fit), DialError> {
    let several = target.settings().hosts.len() > 1;
    let late = || if several { DialError::Share(limit) } else { DialError::Timeout(limit) };
    let found = timeout(limit, Box::pin(find_out(target, host, user, password, extra))).await;
    let found = found.unwrap_or_else(|_| Err(late()));
    match &found {
        Err(error) if error.is_unreachable() => target.hosts().note_failed(host, Instant::now()),
        _ => target.hosts().note_answered(host),
    }
    found
}

/// Logs in and finds out how well the host fits.
async fn find_out(
    target: &Target,
    host: usize,
    user: &str,
    password: &Secret,
    extra: &[(String, String)],
) -> Result<(Connected, Fit), DialError> {
    let attrs = target.settings().target_session_attrs;
    let mut connected = log_in(target, host, user, password, extra).await?;
    if attrs == SessionAttrs::Any {
        return Ok((connected, Fit::Well));
    }
    let state = match ServerState::reported(&connected.params, extra) {
        Some(state) => state,
        None => {
            let (stream, answer) = Box::pin(simple_query(connected.stream, STATE_QUERY)).await;
            let answer = answer?;
            connected.stream = stream.ok_or(DialError::Protocol("the connection is lost"))?;
            let state = answer.rows.last().and_then(|row| ServerState::from_row(row));
            state.ok_or(DialError::Protocol("no answer to whether it is in recovery"))?.without(extra)
        }
    };
    match attrs.fit(state) {
        Fit::Not => {
            leave(connected);
            Err(DialError::Unfit { is: state.words(), wanted: attrs.word() })
        }
        fit => Ok((connected, fit)),
    }
}

/// What one of so many hosts may take of the time that is left.
fn share_of(left: Duration, hosts: usize) -> Duration {
    left.checked_div(u32::try_from(hosts.max(1)).unwrap_or(u32::MAX)).unwrap_or_default()
}

/// This host it is.
fn settle(target: &Target, mut connected: Connected, passed: Vec<(usize, DialError)>) -> Connected {
    // With "any", a standby that does not know a new user yet is gone back to as soon as it does.
    let any = target.settings().target_session_attrs == SessionAttrs::Any;
    let late = any && passed.iter().any(|(_, error)| error.is_unknown_user());
    if !late && target.hosts().note_fitted(connected.host) {
        let why: Vec<String> =
            passed.iter().map(|(host, error)| format!("{}: {error}", target.name(*host))).collect();
        let host = target.name(connected.host);
        info!(
            dbname = %target.settings().dbname, %host, passed = %why.join("; "),
            "new connections go to another host"
        );
    }
    connected.passed = passed;
    connected
}

fn no_host(target: &Target, mut passed: Vec<(usize, DialError)>) -> DialError {
    match passed.pop() {
        Some((_, error)) if target.settings().hosts.len() == 1 => error,
        last => {
            let all = passed.into_iter().chain(last);
            DialError::Hosts(all.map(|(host, error)| (target.name(host), error)).collect())
        }
    }
}

/// Says goodbye and closes.
fn leave(mut connected: Connected) {
    let mut goodbye = Encoder::default();
    goodbye.terminate();
    connected.stream.try_goodbye(&goodbye.into_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_host_leaves_the_others_have() {
        let s = Duration::from_secs;
        assert_eq!(share_of(s(10), 1), s(10));
        assert_eq!(share_of(s(10), 2), s(5));
        assert_eq!(share_of(s(9), 3), s(3));
        // The first of three refused at once.
        assert_eq!(share_of(s(9), 2), Duration::from_millis(4500));
        assert_eq!((share_of(s(9), 0), share_of(s(0), 3)), (s(9), s(0)));
    }
}
