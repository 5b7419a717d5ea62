//! The one connection per pool over which the keeper asks the server: it
//! verifies a new user, and then watches pg_roles as that user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::credentials::{Generation, GenerationId, SurveyError, UserState, VerifyError};
use crate::net::Stream;
use crate::upstream::{DialError, QueryError, Target, dial, simple_query};
use crate::wire::{ErrorFields, quote_literal};

/// Logged-in streams of the control thread, by generation.
#[derive(Debug, Default)]
pub(super) struct Watch {
    streams: Mutex<HashMap<GenerationId, Stream>>,
    params: Mutex<Arc<Vec<(String, String)>>>,
}

impl Watch {
    pub(super) fn params(&self) -> Arc<Vec<(String, String)>> {
        self.params.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take(&self, id: GenerationId) -> Option<Stream> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }

    fn keep(&self, id: GenerationId, stream: Stream) {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).insert(id, stream);
    }

    /// Closes the connection of a generation that needs it no more.
    pub(super) fn close(&self, id: GenerationId) {
        drop(self.take(id));
    }

    /// Logs in as the generation's user and checks who we are. With an error, what the server
    /// itself said.
    pub(super) async fn verify(
        &self,
        target: &Target,
        generation: &Generation,
    ) -> Result<(), (VerifyError, Option<Box<ErrorFields>>)> {
        let login = generation.login();
        let connected = dial(target, &login.user, &login.password, &[])
            .await
            .map_err(|error| (verify_error(target, generation, &error), said(error)))?;
        let (stream, answer) =
            Box::pin(simple_query(connected.stream, "SELECT session_user, current_user")).await;
        let answer = answer.map_err(|error| {
            let message = format!("user {:?} logged in but could not ask who it is: {error}", login.user);
            (VerifyError::Unreachable { message }, None)
        })?;
        let field = |n: usize| answer.rows.first().and_then(|row| row.get(n)).cloned().flatten();
        let (session, current) = (field(0).unwrap_or_default(), field(1).unwrap_or_default());
        let wanted = target.settings().role.as_deref().unwrap_or(&login.user);
        if session != login.user || current != wanted {
            let error = VerifyError::WrongIdentity {
                message: format!(
                    "logged in as {:?} but session_user is {session:?} and current_user is {current:?} instead of \
                     {wanted:?}: a pooler in between may drop the startup parameter `role`, connect to PostgreSQL directly",
                    login.user
                ),
            };
            return Err((error, None));
        }
        *self.params.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(connected.params);
        if let Some(stream) = stream {
            self.keep(generation.id(), stream);
        }
        Ok(())
    }

    /// Asks anything as the generation's user, logging in if need be. Not cancel safe: it costs the connection.
    pub(super) async fn ask(
        &self,
        target: &Target,
        generation: &Generation,
        sql: &str,
    ) -> Option<Vec<Vec<Option<String>>>> {
        let stream = match self.take(generation.id()) {
            Some(stream) => stream,
            None => {
                let login = generation.login();
                dial(target, &login.user, &login.password, &[]).await.ok()?.stream
            }
        };
        let (stream, answer) = Box::pin(simple_query(stream, sql)).await;
        if let Some(stream) = stream {
            self.keep(generation.id(), stream);
        }
        answer.ok().map(|answer| answer.rows)
    }

    /// Asks pg_roles as the generation's user, logging in again if need be.
    pub(super) async fn survey(
        &self,
        target: &Target,
        generation: &Generation,
        users: &[String],
    ) -> Result<Vec<UserState>, SurveyError> {
        let sql = survey_query(users);
        let kept = self.take(generation.id());
        if let Some(stream) = kept
            && let (Some(stream), Ok(answer)) = Box::pin(simple_query(stream, &sql)).await
        {
            self.keep(generation.id(), stream);
            return Ok(states(users, &answer.rows));
        }
        let connected = match dial(target, &generation.login().user, &generation.login().password, &[]).await
        {
            Ok(connected) => connected,
            // It could log in when it was verified: now it is gone, locked or expired.
            Err(DialError::Refused(fields)) if matches!(fields.sqlstate.as_str(), "28P01" | "28000") => {
                let gone = |user: &String| {
                    if *user == generation.login().user { UserState::Dropped } else { UserState::Alive }
                };
                return Ok(users.iter().map(gone).collect());
            }
            Err(error) => return Err(SurveyError { message: error.to_string() }),
        };
        let (stream, answer) = Box::pin(simple_query(connected.stream, &sql)).await;
        let answer = answer.map_err(|error: QueryError| SurveyError { message: error.to_string() })?;
        if let Some(stream) = stream {
            self.keep(generation.id(), stream);
        }
        Ok(states(users, &answer.rows))
    }
}

/// Allowed to every user; sees dropped, locked and expired ones, which `SELECT 1` does not.
fn survey_query(users: &[String]) -> String {
    let names: Vec<String> = users.iter().map(|user| quote_literal(user)).collect();
    format!(
        "SELECT rolname, rolcanlogin, coalesce(rolvaliduntil <= now(), false) FROM pg_catalog.pg_roles \
         WHERE rolname IN ({})",
        names.join(", ")
    )
}

fn states(users: &[String], rows: &[Vec<Option<String>>]) -> Vec<UserState> {
    let is = |field: Option<&Option<String>>, text: &str| matches!(field, Some(Some(value)) if value == text);
    users
        .iter()
        .map(|user| match rows.iter().find(|row| is(row.first(), user)) {
            None => UserState::Dropped,
            Some(row) if !is(row.get(1), "t") => UserState::NoLogin,
            Some(row) if is(row.get(2), "t") => UserState::Expired,
            Some(_) => UserState::Alive,
        })
        .collect()
}

fn said(error: DialError) -> Option<Box<ErrorFields>> {
    match error {
        DialError::Refused(fields) => Some(fields),
        _ => None,
    }
}

fn verify_error(target: &Target, generation: &Generation, error: &DialError) -> VerifyError {
    let user = &generation.login().user;
    let settings = target.settings();
    let place = format!("{}:{}/{}", settings.host, settings.port, settings.dbname);
    match error {
        DialError::Refused(fields) => {
            let class = fields.sqlstate.get(..2).unwrap_or("");
            let message = format!("the server at {place} refuses new user {user:?}: {}", fields.message);
            match class {
                "28" | "42" | "22" => {
                    let advice = match fields.sqlstate.as_str() {
                        "28P01" => "not replicated yet, expired, or dropped already",
                        "28000" => "grant LOGIN in the creation statements, and check pg_hba.conf",
                        "42501" => {
                            "grant CONNECT, and membership in the configured role, in the creation statements"
                        }
                        _ => "check `role` and the creation statements",
                    };
                    VerifyError::Refused {
                        sqlstate: fields.sqlstate.clone(),
                        message: format!("{message} ({advice})"),
                    }
                }
                _ => {
                    VerifyError::Unreachable { message: format!("{message} (SQLSTATE {})", fields.sqlstate) }
                }
            }
        }
        other => {
            VerifyError::Unreachable { message: format!("cannot log in at {place} as {user:?}: {other}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_a_user_can_end_is_told_apart() {
        let users: Vec<String> = ["a", "b", "c", "d"].map(String::from).into();
        let row =
            |n: &str, login: &str, past: &str| vec![Some(n.into()), Some(login.into()), Some(past.into())];
        let rows = [row("b", "f", "f"), row("a", "t", "f"), row("c", "t", "t")];
        assert_eq!(
            states(&users, &rows),
            [UserState::Alive, UserState::NoLogin, UserState::Expired, UserState::Dropped]
        );
        assert!(survey_query(&["o'x".into()]).ends_with("IN ('o''x')"));
    }
}
