//! What `/status` says, as far as it is shown here. Fields that are not known are passed over and those that are
//! missing are empty, so that a proxy may be older or newer.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::clock::Moment;

/// A text that is no status.
#[derive(Debug, thiserror::Error)]
#[error("what it answers is no status of Leasehold: {0}")]
pub(super) struct NotStatus(String);

/// The whole of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Report {
    pub(super) version: String,
    pub(super) uptime_seconds: f64,
    pub(super) stopping: bool,
    pub(super) ready: bool,
    pub(super) reasons: Vec<Reason>,
    pub(super) threads: Threads,
    pub(super) databases: Vec<Database>,
}

/// Why it is not ready.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Reason {
    pub(super) database: Option<String>,
    pub(super) reason: String,
    pub(super) detail: String,
}

/// The data threads.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Threads {
    pub(super) answering: u64,
    pub(super) blocked: Vec<u64>,
}

/// One database.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Database {
    pub(super) database: String,
    pub(super) source: String,
    pub(super) pool_mode: String,
    pub(super) active_generation: Option<u64>,
    pub(super) next_user_in_seconds: Option<f64>,
    pub(super) last_error: Option<String>,
    pub(super) server_error: Option<String>,
    pub(super) rotations: u64,
    pub(super) clients: Clients,
    pub(super) servers: Servers,
    pub(super) waits: Waits,
    pub(super) transactions: u64,
    pub(super) errors: u64,
    pub(super) generations: Vec<Generation>,
    pub(super) events: Vec<Event>,
}

/// Its clients.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Clients {
    pub(super) active: u64,
    pub(super) waiting: u64,
    pub(super) idle: u64,
}

/// Its server connections.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Servers {
    pub(super) busy: u64,
    pub(super) idle: u64,
    pub(super) pool_size: u64,
    pub(super) max_server_connections: u64,
}

/// How long its clients wait for one.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Waits {
    pub(super) longest_seconds: Option<f64>,
    pub(super) served: u64,
    pub(super) p99_seconds: Option<f64>,
    pub(super) timeouts: u64,
}

/// One issued user.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Generation {
    pub(super) generation: u64,
    pub(super) user: Option<String>,
    pub(super) state: String,
    pub(super) issued_seconds_ago: Option<f64>,
    pub(super) expires_in_seconds: Option<f64>,
    pub(super) connections: u64,
    pub(super) busy: u64,
    pub(super) idle: u64,
}

/// What happened.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    pub(super) seconds_ago: f64,
    pub(super) level: String,
    pub(super) generation: Option<u64>,
    pub(super) text: String,
    pub(super) times: u64,
}

impl Report {
    /// Reads an answer; one that does not say whether it is ready is none.
    pub(super) fn read(text: &str) -> Result<Self, NotStatus> {
        let mut value: Value = serde_json::from_str(text).map_err(|error| NotStatus(error.to_string()))?;
        if !value.get("ready").is_some_and(Value::is_boolean) {
            return Err(NotStatus("it does not say whether it is ready".to_owned()));
        }
        for_terminals(&mut value);
        serde_json::from_value(value).map_err(|error| NotStatus(error.to_string()))
    }

    /// Why this database endangers readiness, if it does.
    pub(super) fn reason(&self, database: &str) -> Option<&Reason> {
        self.reasons.iter().find(|reason| reason.database.as_deref() == Some(database))
    }
}

impl Database {
    /// The user that serves.
    pub(super) fn active(&self) -> Option<&Generation> {
        let active = self.active_generation?;
        self.generations.iter().find(|generation| generation.generation == active)
    }

    /// Users that hold connections or will, beside the one that serves.
    pub(super) fn others(&self) -> impl Iterator<Item = &Generation> {
        let living = |generation: &&Generation| {
            Some(generation.generation) != self.active_generation
                && (generation.connections > 0 || generation.expires_in_seconds.is_some())
        };
        self.generations.iter().filter(living)
    }
}

impl Generation {
    /// How long it still lives, `age` after the report was made.
    pub(super) fn left(&self, age: Duration) -> Option<Duration> {
        self.expires_in_seconds.map(|seconds| duration(seconds).saturating_sub(age))
    }

    /// How long it lives in all: from its issue to its end as known now.
    pub(super) fn life(&self) -> Option<Duration> {
        let (past, future) = (self.issued_seconds_ago?, self.expires_in_seconds?);
        Some(duration(past).saturating_add(duration(future)))
    }
}

/// A report and when it came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) at: Moment,
    pub(super) report: Report,
}

/// Seconds as JSON has them; what is no time is none.
pub(super) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}

/// Errors quote what a server said: a terminal must not take any of it for a command.
fn for_terminals(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(char::is_control) => {
            *text = text.replace(char::is_control, " ");
        }
        Value::Array(list) => list.iter_mut().for_each(for_terminals),
        Value::Object(map) => map.values_mut().for_each(for_terminals),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_or_newer_proxy_is_understood() {
        let old = Report::read(r#"{"ready":false,"databases":[{"database":"app"}]}"#).unwrap();
        assert!(!old.ready && old.databases.len() == 1);
        assert_eq!(old.databases[0], Database { database: "app".into(), ..Database::default() });
        let new = r#"{"ready":true,"weather":{"sun":1},"databases":[{"database":"app","colour":"red",
                     "next_user_in_seconds":null,"clients":{"active":2,"asleep":4}}]}"#;
        assert_eq!(Report::read(new).unwrap().databases[0].clients.active, 2);
    }

    #[test]
    fn what_is_no_status_is_told() {
        for text in ["", "<html>", "[]", "{}", r#"{"ready":"yes"}"#, r#"{"ready":true,"databases":7}"#] {
            let error = Report::read(text).unwrap_err().to_string();
            assert!(error.contains("no status of Leasehold"), "{text}: {error}");
        }
    }

    #[test]
    fn no_text_is_a_command_for_a_terminal() {
        let text = r#"{"ready":false,"reasons":[{"database":"app","detail":"a\u001b]0;b\u0007\nc"}]}"#;
        assert_eq!(Report::read(text).unwrap().reasons[0].detail, "a ]0;b  c");
    }

    #[test]
    fn a_life_goes_from_issue_to_end() {
        let generation = Generation {
            issued_seconds_ago: Some(20.0),
            expires_in_seconds: Some(40.0),
            ..Generation::default()
        };
        let seconds = Duration::from_secs;
        assert_eq!(generation.life(), Some(seconds(60)));
        for (age, left) in [(0, 40), (15, 25), (99, 0)] {
            assert_eq!(generation.left(seconds(age)), Some(seconds(left)));
        }
        assert_eq!((Generation::default().life(), duration(-1.0)), (None, Duration::ZERO));
    }
}
