//! A report in words: what `status` prints, and the parts of it that `top` shows too.

use std::fmt::Write as _;
use std::time::Duration;

use super::report::{Database, Generation, Report, duration};
use super::units::{span, wait};

/// The whole report, some lines for each database.
pub(super) fn whole(report: &Report, place: &str) -> String {
    let mut text = format!(
        "leasehold {} at {place}, up {}: {}\n",
        report.version,
        span(duration(report.uptime_seconds)),
        standing(report)
    );
    for thread in &report.threads.blocked {
        line(
            &mut text,
            "blocked",
            &format!("data thread {thread} gives no answer: its figures are missing here"),
        );
    }
    for reason in report.reasons.iter().filter(|reason| reason.database.is_none()) {
        line(&mut text, &reason.reason, &reason.detail);
    }
    for database in &report.databases {
        text.push('\n');
        one(&mut text, report, database);
    }
    text
}

fn one(text: &mut String, report: &Report, database: &Database) {
    let ready = match report.reason(&database.database) {
        Some(reason) => format!("not ready ({}): {}", reason.reason, reason.detail),
        None => "ready".to_owned(),
    };
    let _ = writeln!(text, "{}: {ready}", database.database);
    let about = format!("users from {}, {} mode", database.source, database.pool_mode);
    line(text, "settings", &about);
    line(text, "user", &database.active().map_or("none".to_owned(), user));
    for other in database.others() {
        line(text, &other.state, &format!("{}, {} connections", user(other), other.connections));
    }
    line(text, "next user", &next_user(database, Duration::ZERO));
    line(text, "connections", &connections(database));
    line(text, "clients", &clients(database));
    line(text, "waits", &waits(database));
    // What the server said is the reason above.
    if let Some(error) = &database.last_error {
        line(text, "last error", error);
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<12} {value}");
}

/// Whether it is ready, in a word or two.
pub(super) fn standing(report: &Report) -> &'static str {
    match (report.stopping, report.ready) {
        (true, _) => "stopping",
        (false, true) => "ready",
        (false, false) => "not ready",
    }
}

fn user(generation: &Generation) -> String {
    let name = generation.user.as_deref().unwrap_or("being issued");
    let end = generation.left(Duration::ZERO).map(|left| format!(", ends in {}", span(left)));
    format!("{name}, generation {}{}", generation.generation, end.unwrap_or_default())
}

/// When the next user comes, `age` after the report was made.
pub(super) fn next_user(database: &Database, age: Duration) -> String {
    let next = match database.next_user_in_seconds {
        Some(seconds) => format!("in {}", span(duration(seconds).saturating_sub(age))),
        None => "on its way".to_owned(),
    };
    format!("{next}; rotations so far: {}", database.rotations)
}

/// Its server connections.
pub(super) fn connections(database: &Database) -> String {
    let servers = &database.servers;
    format!(
        "{} busy, {} idle; at most {}, {} with those of earlier users",
        servers.busy, servers.idle, servers.pool_size, servers.max_server_connections
    )
}

/// Its clients.
pub(super) fn clients(database: &Database) -> String {
    let clients = &database.clients;
    format!("{} active, {} waiting, {} idle", clients.active, clients.waiting, clients.idle)
}

/// How long they wait.
pub(super) fn waits(database: &Database) -> String {
    let waits = &database.waits;
    let mut text = match p99(database) {
        None => "none so far".to_owned(),
        Some(p99) => format!("99 of 100 {p99}, of {} since the start", waits.served),
    };
    if let Some(longest) = waits.longest_seconds {
        let _ = write!(text, "; longest now {}", wait(duration(longest)));
    }
    let _ = write!(text, "; timeouts: {}", waits.timeouts);
    text
}

/// The bound under which 99 of 100 waits stayed; `None`: nobody has waited.
pub(super) fn p99(database: &Database) -> Option<String> {
    let waits = &database.waits;
    (waits.served > 0).then(|| match waits.p99_seconds {
        Some(seconds) => format!("≤ {}", wait(duration(seconds))),
        None => "> 1h".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"{
      "version": "0.1.0", "uptime_seconds": 7500, "ready": false, "stopping": false,
      "reasons": [{ "database": "shop", "reason": "no_user", "detail": "Vault is sealed" }],
      "threads": { "answering": 1, "blocked": [1] },
      "databases": [
        { "database": "app", "source": "local", "pool_mode": "transaction", "active_generation": 2,
          "next_user_in_seconds": 397.4, "rotations": 1,
          "clients": { "active": 1, "waiting": 2, "idle": 3 },
          "servers": { "busy": 4, "idle": 5, "pool_size": 9, "max_server_connections": 18 },
          "waits": { "longest_seconds": 3, "served": 7, "p99_seconds": 0.05, "timeouts": 1 },
          "generations": [
            { "generation": 1, "user": "u1", "state": "retiring", "expires_in_seconds": 40, "connections": 2 },
            { "generation": 2, "user": "u2", "state": "active", "expires_in_seconds": 599.7, "connections": 7 }] },
        { "database": "shop", "source": "vault", "pool_mode": "session", "active_generation": null,
          "next_user_in_seconds": null, "last_error": "Vault is sealed" }
      ] }"#;

    #[test]
    fn a_report_is_a_few_lines_for_each_database() {
        let text = whole(&Report::read(TWO).unwrap(), "http://127.0.0.1:9127");
        let expected = "\
leasehold 0.1.0 at http://127.0.0.1:9127, up 2h 05m: not ready
  blocked      data thread 1 gives no answer: its figures are missing here

app: ready
  settings     users from local, transaction mode
  user         u2, generation 2, ends in 9m 59s
  retiring     u1, generation 1, ends in 40s, 2 connections
  next user    in 6m 37s; rotations so far: 1
  connections  4 busy, 5 idle; at most 9, 18 with those of earlier users
  clients      1 active, 2 waiting, 3 idle
  waits        99 of 100 ≤ 50ms, of 7 since the start; longest now 3s; timeouts: 1

shop: not ready (no_user): Vault is sealed
  settings     users from vault, session mode
  user         none
  next user    on its way; rotations so far: 0
  connections  0 busy, 0 idle; at most 0, 0 with those of earlier users
  clients      0 active, 0 waiting, 0 idle
  waits        none so far; timeouts: 0
  last error   Vault is sealed
";
        assert_eq!(text, expected);
    }

    #[test]
    fn waits_longer_than_the_last_bucket_are_told() {
        for (served, p99_seconds, expected) in
            [(0, None, None), (3, None, Some("> 1h")), (3, Some(2.5), Some("≤ 2.5s"))]
        {
            let mut database = Database::default();
            (database.waits.served, database.waits.p99_seconds) = (served, p99_seconds);
            assert_eq!(p99(&database).as_deref(), expected);
        }
    }
}
