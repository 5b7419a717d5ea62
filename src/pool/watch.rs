//! The connections over which the keeper asks the servers, one for each pool and host in use: a new user is
//! verified there, and then pg_roles is watched as that user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use std::time::Duration;

use tokio::time::sleep;

use crate::credentials::{Generation, GenerationId, VerifyError};
use crate::net::Stream;
use crate::upstream::{Connected, DialError, Target, dial, simple_query};
use crate::wire::ErrorFields;

/// How often a standby that does not know a new user yet is asked again, and after which pause.
const LATE_TRIES: usize = 10;
const LATE_PAUSE: Duration = Duration::from_millis(200);

/// What surveys found amiss with hosts: what they did not answer, by how many surveys in a row.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// Of each host.
    pub(super) hosts: HashMap<usize, u32>,
    /// No host that answers knows the user.
    pub(super) unknown: u32,
    /// Those where no connection is to stay.
    pub(super) unfit: Vec<usize>,
    /// Those of which this was told.
    pub(super) told: Vec<usize>,
}

/// Logged-in streams of the control thread, by generation and host.
#[derive(Debug, Default)]
pub(super) struct Watch {
    streams: Mutex<HashMap<(GenerationId, usize), Stream>>,
    pub(super) silence: Mutex<Silence>,
    params: Mutex<Arc<Vec<(String, String)>>>,
}

impl Watch {
    pub(super) fn params(&self) -> Arc<Vec<(String, String)>> {
        self.params.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn take(&self, id: GenerationId, host: usize) -> Option<Stream> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).remove(&(id, host))
    }

    pub(super) fn keep(&self, id: GenerationId, host: usize, stream: Stream) {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).insert((id, host), stream);
    }

    /// The hosts that a generation has a connection to.
    pub(super) fn hosts(&self, id: GenerationId) -> Vec<usize> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.keys().filter(|(of, _)| *of == id).map(|(_, host)| *host).collect()
    }

    /// Closes the connections of a generation that needs them no more.
    pub(super) fn close(&self, id: GenerationId) {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _), _| *of != id);
    }

    /// Logs in as the generation's user and checks who we are. With an error, what the server
    /// itself said.
    pub(super) async fn verify(
        &self,
        target: &Target,
        generation: &Generation,
    ) -> Result<(), (VerifyError, Option<Box<ErrorFields>>)> {
        let login = generation.login();
        let connected = log_in(target, generation)
            .await
            .map_err(|error| (verify_error(target, generation, &error), said(&error)))?;
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
            self.keep(generation.id(), connected.host, stream);
        }
        Ok(())
    }

    /// Asks anything where new connections go, as the generation's user, logging in if need be. Not cancel
    /// safe: it costs the connection.
    pub(super) async fn ask(
        &self,
        target: &Target,
        generation: &Generation,
        sql: &str,
    ) -> Option<Vec<Vec<Option<String>>>> {
        let preferred = target.preferred();
        let (stream, host) = match self.take(generation.id(), preferred) {
            Some(stream) => (stream, preferred),
            None => {
                let login = generation.login();
                let connected = dial(target, &login.user, &login.password, &[]).await.ok()?;
                (connected.stream, connected.host)
            }
        };
        let (stream, answer) = Box::pin(simple_query(stream, sql)).await;
        if let Some(stream) = stream {
            self.keep(generation.id(), host, stream);
        }
        answer.ok().map(|answer| answer.rows)
    }
}

/// Logs in where new connections will go. A standby that would be the one and does not know the user
/// yet is asked again for a while.
async fn log_in(target: &Target, generation: &Generation) -> Result<Connected, DialError> {
    let login = generation.login();
    let may_be_late = target.settings().target_session_attrs.may_be_late();
    let mut tries = LATE_TRIES;
    loop {
        let dialled = dial(target, &login.user, &login.password, &[]).await;
        let late = match &dialled {
            Ok(connected) => connected.passed.iter().any(|(_, error)| error.is_unknown_user()),
            Err(error) if may_be_late => error.causes().any(DialError::is_unknown_user),
            Err(error) => error.is_late(),
        };
        tries = tries.saturating_sub(1);
        if !late || tries == 0 {
            return dialled;
        }
        sleep(LATE_PAUSE).await;
    }
}

fn said(error: &DialError) -> Option<Box<ErrorFields>> {
    error.refusals().next().cloned().map(Box::new)
}

fn verify_error(target: &Target, generation: &Generation, error: &DialError) -> VerifyError {
    let user = &generation.login().user;
    let settings = target.settings();
    let place = format!("{}/{}", settings.place(), settings.dbname);
    let about_the_user = |fields: &ErrorFields| {
        let class = fields.sqlstate.get(..2).unwrap_or("");
        matches!(class, "28" | "42" | "22")
    };
    // With several hosts it is refused only where all of them say so: one that is silent may know it.
    let refused = error.refusals().filter(|fields| about_the_user(fields)).count() == error.causes().count();
    let Some(fields) = error.refusals().next() else {
        return VerifyError::Unreachable {
            message: format!("cannot log in at {place} as {user:?}: {error}"),
        };
    };
    let words = match error {
        DialError::Refused(fields) => fields.message.clone(),
        other => other.to_string(),
    };
    let message = format!("the server at {place} refuses new user {user:?}: {words}");
    if refused {
        let advice = advice(&fields.sqlstate);
        return VerifyError::Refused {
            sqlstate: fields.sqlstate.clone(),
            message: format!("{message} ({advice})"),
        };
    }
    let message = match error {
        DialError::Refused(fields) => format!("{message} (SQLSTATE {})", fields.sqlstate),
        late if late.is_late() => format!(
            "new user {user:?} is not known yet on a host that fits, replication is late: it is tried again ({words})"
        ),
        _ => format!("cannot log in at {place} as {user:?}: {words}"),
    };
    VerifyError::Unreachable { message }
}

fn advice(sqlstate: &str) -> &'static str {
    match sqlstate {
        "28P01" => "not replicated yet, expired, or dropped already",
        "28000" => "grant LOGIN in the creation statements, and check pg_hba.conf",
        "42501" => "grant CONNECT, and membership in the configured role, in the creation statements",
        _ => "check `role` and the creation statements",
    }
}
