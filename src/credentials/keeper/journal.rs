//! What the keeper logs: one event per step of a generation's life. error:
//! someone must act; warn: degraded; info: the steps. User names yes, secrets
//! never.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::Driver;
use crate::clock::Moment;
use crate::credentials::generation::GenerationId;
use crate::credentials::life::{Effect, GenerationState, Notice};
use crate::credentials::source::Term;

/// Who an event is about, seconds to live and connections.
struct Who<'d> {
    pool: &'d str,
    number: u64,
    user: &'d str,
    ttl: u64,
    connections: usize,
}

/// One event about one generation: pool, generation and user, those of its figures that are named in
/// brackets, then the event's own fields and words.
macro_rules! tell {
    ($level:ident, $who:expr, [$($figure:ident),*], $($own:tt)+) => {{
        let who = &$who;
        $level!(
            pool = %who.pool,
            generation = who.number,
            user = %who.user,
            $($figure = who.$figure,)*
            $($own)+
        );
    }};
}

impl Driver {
    fn who(&self, id: GenerationId) -> Who<'_> {
        let end = self.life.views().find(|view| view.id == id).map(|view| view.end);
        Who {
            pool: &self.pool,
            number: id.number(),
            user: self.held.get(&id).map(|held| held.user.as_str()).unwrap_or_default(),
            ttl: end.map_or(0, |end| Moment::now().until(end).as_secs()),
            connections: self.fleet.connections(id),
        }
    }

    pub(super) fn log_issued(&self, id: GenerationId, term: &Term) {
        let lease = self.held.get(&id).map(|held| held.lease_id.as_str()).unwrap_or_default();
        let ttl = Moment::now().until(term.end()).as_secs();
        tell!(info, self.who(id), [], ttl, %lease, renewable = term.renewable, "user issued");
    }

    pub(super) fn log_effect(&self, effect: &Effect) {
        match *effect {
            Effect::Issue(id) => debug!(pool = %self.pool, generation = id.number(), "asking for a user"),
            Effect::Verify(id) => tell!(debug, self.who(id), [ttl], "verifying"),
            Effect::Warm(id) => tell!(info, self.who(id), [ttl, connections], "warming"),
            Effect::Deactivate(id) => {
                tell!(info, self.who(id), [ttl, connections], "no generation is active");
            }
            Effect::Retire(id) => tell!(info, self.who(id), [ttl, connections], "retiring"),
            Effect::CancelBusy(id) => {
                tell!(warn, self.who(id), [ttl, connections], "cancelling what is busy");
            }
            Effect::Cut(id, reason) => {
                tell!(warn, self.who(id), [ttl, connections], ?reason, "cutting what is left");
            }
            Effect::Renew(id) | Effect::Revoke(id) => {
                let renew = matches!(effect, Effect::Renew(_));
                tell!(debug, self.who(id), [ttl], renew, "asking the source");
            }
            Effect::Activate(_)
            | Effect::MoveEnd(..)
            | Effect::Survey(..)
            | Effect::Forget(_)
            | Effect::Tell(_)
            | Effect::Done => {}
        }
    }

    pub(super) fn log_notice(&self, notice: &Notice) {
        match notice {
            Notice::IssueFailed { error, failures, retry_in, time_left } => {
                self.log_issue_failed(error, *failures, *retry_in, *time_left);
            }
            Notice::VerifyFailed { id, error, failures, retry_in, time_left } => {
                self.log_verify_failed(*id, error, *failures, *retry_in, *time_left);
            }
            Notice::GivenUp { id, retry_in } => self.log_given_up(*id, *retry_in),
            Notice::Ended { id } => {
                tell!(warn, self.who(*id), [ttl], "the new user's life is over before it could be used");
            }
            Notice::Activated { id, before } => {
                let before = before.map(GenerationId::number);
                tell!(info, self.who(*id), [ttl, connections], before, "active");
            }
            Notice::Renewed { id, again } => {
                tell!(info, self.who(*id), [ttl, connections], again, "lease renewed");
            }
            Notice::RenewFailed { id, error, retry_in } => self.log_renew_failed(*id, error, *retry_in),
            Notice::Extended { id, until } => self.log_extended(*id, *until),
            Notice::Closed { id } => {
                tell!(
                    error,
                    self.who(*id),
                    [ttl, connections],
                    "the user ends and there is no other: clients wait"
                );
            }
            Notice::Gone { id, state } => {
                tell!(
                    warn,
                    self.who(*id),
                    [ttl, connections],
                    ?state,
                    "the user was removed by somebody else"
                );
            }
            Notice::Stuck { id } => {
                tell!(error, self.who(*id), [ttl, connections], "connections are left after the cut");
            }
            Notice::Revoked { id } => tell!(info, self.who(*id), [], "revoked"),
            Notice::RevokeFailed { id, error, retry_in } => {
                self.log_revoke_failed(*id, error, *retry_in);
            }
            Notice::Left { id } => {
                tell!(error, self.who(*id), [ttl], "the user could not be revoked: it ends by itself");
            }
            Notice::SurveyFailed { error, failures } => self.log_survey_failed(error, *failures),
        }
    }

    fn log_issue_failed(&self, error: &str, failures: u32, retry_in: Duration, time_left: Option<Duration>) {
        let (pool, source, retry_in) = (&self.pool, self.source.kind(), retry_in.as_secs_f64());
        if let Some(time_left) = time_left.map(|left| left.as_secs()) {
            warn!(
                %pool, source, %error, failures, retry_in, time_left,
                "no new user, the active one serves on"
            );
        } else {
            error!(
                %pool, source, %error, failures, retry_in, time_left = 0,
                "no new user, and none to serve with"
            );
        }
    }

    fn log_verify_failed(
        &self,
        id: GenerationId,
        error: &str,
        failures: u32,
        retry_in: Duration,
        time_left: Option<Duration>,
    ) {
        let (retry_in, time_left) = (retry_in.as_secs_f64(), time_left.unwrap_or_default().as_secs());
        tell!(
            warn, self.who(id), [ttl], %error, failures, retry_in, time_left,
            "the new user cannot log in"
        );
    }

    fn log_given_up(&self, id: GenerationId, retry_in: Duration) {
        tell!(
            error,
            self.who(id),
            [ttl],
            retry_in = retry_in.as_secs_f64(),
            "giving the new user up: check the role's creation statements, pg_hba.conf and replication"
        );
    }

    fn log_extended(&self, id: GenerationId, until: Moment) {
        let time_left = Moment::now().until(until).as_secs();
        tell!(
            warn,
            self.who(id),
            [connections],
            time_left,
            "serving past the user's end while the source is unreachable"
        );
    }

    fn log_renew_failed(&self, id: GenerationId, error: &str, retry_in: Option<Duration>) {
        let (who, retry_in) = (self.who(id), retry_in.map(|wait| wait.as_secs_f64()));
        let time_left = who.ttl;
        tell!(warn, who, [ttl, connections], %error, retry_in, time_left, "lease not renewed");
    }

    fn log_revoke_failed(&self, id: GenerationId, error: &str, retry_in: Duration) {
        let (who, retry_in) = (self.who(id), retry_in.as_secs_f64());
        let time_left = who.ttl;
        tell!(warn, who, [ttl], %error, retry_in, time_left, "not revoked");
    }

    fn log_survey_failed(&self, error: &str, failures: u32) {
        let pool = &self.pool;
        if failures == 1 {
            warn!(%pool, %error, "cannot ask pg_roles for our users");
        } else {
            debug!(%pool, %error, failures, "cannot ask pg_roles for our users");
        }
    }

    pub(super) fn log_finished(&self) {
        let left = self.life.views().filter(|view| view.state == GenerationState::Left).count();
        let issuing = self.life.views().any(|view| view.state == GenerationState::Issuing);
        if left > 0 || issuing {
            error!(pool = %self.pool, left, issuing, "stopped with users left: they end by themselves");
        } else {
            info!(pool = %self.pool, "stopped, every user is revoked");
        }
    }
}
