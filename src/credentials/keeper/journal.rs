//! What the keeper logs: one event per step of a generation's life. error:
//! someone must act; warn: degraded; info: the steps. User names yes, secrets
//! never.

use tracing::{debug, error, info, warn};

use super::Driver;
use crate::clock::Moment;
use crate::credentials::generation::GenerationId;
use crate::credentials::life::{Effect, GenerationState, Notice};
use crate::credentials::source::Term;

/// Who an event is about: `generation`, `user`, seconds to live, connections.
struct Who {
    number: u64,
    user: String,
    ttl: u64,
    connections: usize,
}

impl Driver {
    fn who(&self, id: GenerationId) -> Who {
        let end = self.life.views().find(|view| view.id == id).map(|view| view.end);
        Who {
            number: id.number(),
            user: self.held.get(&id).map(|held| held.user.clone()).unwrap_or_default(),
            ttl: end.map_or(0, |end| Moment::now().until(end).as_secs()),
            connections: self.fleet.connections(id),
        }
    }

    pub(super) fn log_issued(&self, id: GenerationId, term: &Term) {
        let held = self.held.get(&id);
        let user = held.map(|held| held.user.as_str()).unwrap_or_default();
        let lease = held.map(|held| held.lease_id.as_str()).unwrap_or_default();
        let ttl = Moment::now().until(term.end()).as_secs();
        info!(pool = %self.pool, generation = id.number(), %user, ttl, %lease, renewable = term.renewable, "user issued");
    }

    pub(super) fn log_effect(&self, effect: &Effect) {
        let pool = tracing::field::display(&self.pool);
        match effect {
            Effect::Issue(id) => debug!(pool, generation = id.number(), "asking for a user"),
            Effect::Verify(id) => {
                let Who { number, user, ttl, .. } = self.who(*id);
                debug!(pool, generation = number, %user, ttl, "verifying");
            }
            Effect::Warm(id) => {
                let Who { number, user, ttl, connections } = self.who(*id);
                info!(pool, generation = number, %user, ttl, connections, "warming");
            }
            Effect::Deactivate(id) => {
                let Who { number, user, ttl, connections } = self.who(*id);
                info!(pool, generation = number, %user, ttl, connections, "no generation is active");
            }
            Effect::Retire(id) => {
                let Who { number, user, ttl, connections } = self.who(*id);
                info!(pool, generation = number, %user, ttl, connections, "retiring");
            }
            Effect::CancelBusy(id) => {
                let Who { number, user, ttl, connections } = self.who(*id);
                warn!(pool, generation = number, %user, ttl, connections, "cancelling what is busy");
            }
            Effect::Cut(id, reason) => {
                let Who { number, user, ttl, connections } = self.who(*id);
                warn!(pool, generation = number, %user, ttl, connections, ?reason, "cutting what is left");
            }
            Effect::Renew(id) | Effect::Revoke(id) => {
                let Who { number, user, ttl, .. } = self.who(*id);
                let renew = matches!(effect, Effect::Renew(_));
                debug!(pool, generation = number, %user, ttl, renew, "asking the source");
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
        let pool = tracing::field::display(&self.pool);
        match notice {
            Notice::IssueFailed { error, failures, retry_in, time_left } => {
                let (retry_in, source) = (retry_in.as_secs_f64(), self.source.kind());
                match time_left.map(|left| left.as_secs()) {
                    Some(time_left) => {
                        warn!(
                            pool,
                            source,
                            %error,
                            failures,
                            retry_in,
                            time_left,
                            "no new user, the active one serves on"
                        );
                    }
                    None => error!(
                        pool,
                        source,
                        %error,
                        failures,
                        retry_in,
                        time_left = 0,
                        "no new user, and none to serve with"
                    ),
                }
            }
            Notice::VerifyFailed { id, error, failures, retry_in, time_left } => {
                let Who { number, user, ttl, .. } = self.who(*id);
                let retry_in = retry_in.as_secs_f64();
                let time_left = time_left.unwrap_or_default().as_secs();
                warn!(
                    pool,
                    generation = number,
                    %user,
                    ttl,
                    %error,
                    failures,
                    retry_in,
                    time_left,
                    "the new user cannot log in"
                );
            }
            Notice::GivenUp { id, retry_in } => {
                let Who { number, user, ttl, .. } = self.who(*id);
                let retry_in = retry_in.as_secs_f64();
                error!(
                    pool,
                    generation = number,
                    %user,
                    ttl,
                    retry_in,
                    "giving the new user up: check the role's creation statements, pg_hba.conf and replication"
                );
            }
            Notice::Activated { id, before } => {
                let Who { number, user, ttl, connections } = self.who(*id);
                let before = before.map(GenerationId::number);
                info!(pool, generation = number, %user, ttl, connections, before, "active");
            }
            Notice::Ended { id } => {
                let Who { number, user, ttl, .. } = self.who(*id);
                warn!(
                    pool,
                    generation = number,
                    %user,
                    ttl,
                    "the new user's life is over before it could be used"
                );
            }
            Notice::Closed { id } => {
                let Who { number, user, ttl, connections } = self.who(*id);
                error!(
                    pool,
                    generation = number,
                    %user,
                    ttl,
                    connections,
                    "the user ends and there is no other: clients wait"
                );
            }
            Notice::Gone { id, state } => {
                let Who { number, user, ttl, connections } = self.who(*id);
                warn!(
                    pool,
                    generation = number,
                    %user,
                    ttl,
                    connections,
                    ?state,
                    "the user was removed by somebody else"
                );
            }
            Notice::Extended { id, until } => {
                let Who { number, user, connections, .. } = self.who(*id);
                let time_left = Moment::now().until(*until).as_secs();
                warn!(
                    pool,
                    generation = number,
                    %user,
                    connections,
                    time_left,
                    "serving past the user's end while the source is unreachable"
                );
            }
            Notice::Renewed { id, again } => {
                let Who { number, user, ttl, connections } = self.who(*id);
                info!(pool, generation = number, %user, ttl, connections, again, "lease renewed");
            }
            Notice::RenewFailed { id, error, retry_in } => {
                let Who { number, user, ttl, connections } = self.who(*id);
                let retry_in = retry_in.map(|wait| wait.as_secs_f64());
                warn!(
                    pool,
                    generation = number,
                    %user,
                    ttl,
                    connections,
                    %error,
                    retry_in,
                    time_left = ttl,
                    "lease not renewed"
                );
            }
            Notice::Stuck { id } => {
                let Who { number, user, ttl, connections } = self.who(*id);
                error!(
                    pool,
                    generation = number,
                    %user,
                    ttl,
                    connections,
                    "connections are left after the cut"
                );
            }
            Notice::Revoked { id } => {
                let Who { number, user, .. } = self.who(*id);
                info!(pool, generation = number, %user, "revoked");
            }
            Notice::RevokeFailed { id, error, retry_in } => {
                let Who { number, user, ttl, .. } = self.who(*id);
                let retry_in = retry_in.as_secs_f64();
                warn!(pool, generation = number, %user, ttl, %error, retry_in, time_left = ttl, "not revoked");
            }
            Notice::Left { id } => {
                let Who { number, user, ttl, .. } = self.who(*id);
                error!(
                    pool,
                    generation = number,
                    %user,
                    ttl,
                    "the user could not be revoked: it ends by itself"
                );
            }
            Notice::SurveyFailed { error, failures: 1 } => {
                warn!(pool, %error, "cannot ask pg_roles for our users")
            }
            Notice::SurveyFailed { error, failures } => {
                debug!(pool, %error, failures, "cannot ask pg_roles for our users")
            }
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
