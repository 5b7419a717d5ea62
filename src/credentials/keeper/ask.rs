//! What the driver asks of the source and of PostgreSQL about one user. Each call is a task of its own.

use std::sync::Arc;
use std::time::Duration;

use super::{Answer, Driver, lost, source_bound};
use crate::credentials::fleet::{SurveyError, VerifyError};
use crate::credentials::generation::GenerationId;
use crate::credentials::life::Event;

/// How long a login may take that should bound itself.
const VERIFY_PATIENCE: Duration = Duration::from_secs(60);

impl Driver {
    pub(super) fn verify(&mut self, id: GenerationId) {
        let Some((_, generation)) = self.keys(id) else { return };
        let fleet = Arc::clone(&self.fleet);
        let if_lost = Event::VerifyFailed(id, unreachable("the login was lost"));
        self.start_task(Answer::Event(if_lost), async move {
            let verified = tokio::time::timeout(VERIFY_PATIENCE, fleet.verify(&generation)).await;
            Answer::Event(match verified {
                Ok(Ok(())) => Event::Verified(id),
                Ok(Err(error)) => Event::VerifyFailed(id, error),
                Err(_) => Event::VerifyFailed(id, unreachable("the login took more than a minute")),
            })
        });
    }

    pub(super) fn renew(&mut self, id: GenerationId) {
        let Some((issued, _)) = self.keys(id) else { return };
        let source = Arc::clone(&self.source);
        self.start_task(Answer::Event(Event::RenewFailed(id, lost())), async move {
            Answer::Event(match source_bound(source.renew(&issued)).await {
                Ok(term) => Event::Renewed(id, term),
                Err(error) => Event::RenewFailed(id, error),
            })
        });
    }

    pub(super) fn revoke(&mut self, id: GenerationId) {
        let Some((issued, _)) = self.keys(id) else { return };
        let source = Arc::clone(&self.source);
        self.start_task(Answer::Event(Event::RevokeFailed(id, lost())), async move {
            Answer::Event(match source_bound(source.revoke(&issued)).await {
                Ok(()) => Event::Revoked(id),
                Err(error) => Event::RevokeFailed(id, error),
            })
        });
    }

    pub(super) fn survey(&mut self, ids: Vec<GenerationId>, patience: Duration) {
        let known: Vec<(GenerationId, String)> =
            ids.into_iter().filter_map(|id| Some((id, self.held.get(&id)?.user.clone()))).collect();
        let fleet = Arc::clone(&self.fleet);
        let failed = |message: &str| Event::SurveyFailed(SurveyError { message: message.to_owned() });
        self.start_task(Answer::Event(failed("the survey was lost")), async move {
            let (ids, users): (Vec<_>, Vec<_>) = known.into_iter().unzip();
            // Pools of several hosts take a few steps, each of them within the patience.
            let bound = patience.saturating_mul(3) + Duration::from_secs(1);
            Answer::Event(match tokio::time::timeout(bound, fleet.survey(&users, patience)).await {
                Ok(Ok(states)) => Event::Surveyed(ids.into_iter().zip(states).collect()),
                Ok(Err(error)) => Event::SurveyFailed(error),
                Err(_) => failed("pg_roles gave no answer in time"),
            })
        });
    }
}

fn unreachable(message: &str) -> VerifyError {
    VerifyError::Unreachable { message: message.to_owned() }
}
