//! What the keeper may ask of a pool.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::warn;

use super::message::ShardMessage;
use super::shared::Pool;
use crate::credentials::{CutReason, Fleet, Generation, GenerationId, SurveyError, UserState, VerifyError};

#[async_trait]
impl Fleet for Pool {
    async fn verify(&self, generation: &Arc<Generation>) -> Result<(), VerifyError> {
        let verified = self.watch.verify(self.target(), generation).await;
        if let Err((error, said)) = verified {
            self.say_no(said);
            return Err(error);
        }
        // Before its first client may call one of them.
        self.learn_functions(generation).await;
        if self.is_paused() {
            self.watch.close(generation.id());
        }
        self.ledger().admit(generation);
        Ok(())
    }

    async fn warm(&self, generation: &Arc<Generation>) -> usize {
        let mut replies = Vec::new();
        self.broadcast(|| {
            let (reply, answer) = oneshot::channel();
            replies.push(answer);
            ShardMessage::Warm { pool: self.index(), generation: generation.clone(), reply }
        });
        let mut opened: usize = 0;
        for reply in replies {
            opened = opened.saturating_add(reply.await.unwrap_or(0));
        }
        opened
    }

    fn activate(&self, generation: &Arc<Generation>) {
        self.ledger().admit(generation);
        self.set_trouble(None);
        self.set_active(Some(generation.id()));
        self.say_yes();
        self.broadcast(|| ShardMessage::ActiveChanged { pool: self.index() });
    }

    fn retire(&self, generation: GenerationId) {
        self.unset_active(generation);
        self.watch.close(generation);
        self.broadcast(|| ShardMessage::Retire { pool: self.index(), generation });
    }

    fn deactivate(&self, generation: GenerationId) {
        self.unset_active(generation);
        self.broadcast(|| ShardMessage::ActiveChanged { pool: self.index() });
    }

    fn cancel_busy(&self, generation: GenerationId) {
        self.broadcast(|| ShardMessage::CancelBusy { pool: self.index(), generation });
    }

    fn cut(&self, generation: GenerationId, reason: CutReason) {
        self.watch.close(generation);
        self.broadcast(|| ShardMessage::Cut { pool: self.index(), generation, reason });
    }

    fn connections(&self, generation: GenerationId) -> usize {
        self.ledger().open(generation)
    }

    async fn drained(&self, generation: GenerationId) {
        loop {
            let changed = self.drained.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.ledger().open(generation) == 0 {
                break;
            }
            changed.await;
        }
        self.watch.close(generation);
        self.ledger().forget(generation);
    }

    async fn survey(&self, users: &[String], patience: Duration) -> Result<Vec<UserState>, SurveyError> {
        if self.is_paused() {
            return Err(SurveyError { message: "the database is paused: nothing is asked of it".into() });
        }
        let generation = self.active().and_then(|id| self.generation(id));
        let Some(generation) = generation else {
            return Err(SurveyError { message: "no user is active to ask with".into() });
        };
        let asked = self.watch.survey(self.target(), &generation, users, self.hosts_in_use(), patience);
        // A host that is silent must not keep the others from being asked.
        let patience = if self.minds_hosts() { patience.saturating_mul(3) } else { patience };
        let answer = timeout(patience, asked).await.unwrap_or_else(|_| {
            Err(SurveyError { message: format!("no answer within {} s", patience.as_secs_f64()) })
        });
        if self.is_paused() {
            // Paused meanwhile: nothing of ours is to stay connected.
            self.watch.close(generation.id());
        }
        self.leave_unfit();
        answer
    }

    async fn suspicion(&self) {
        self.suspicion.notified().await;
    }

    async fn wanted(&self) {
        self.wish.notified().await;
    }
}

impl Pool {
    /// Whether its hosts have to be looked after, beside its users.
    pub(super) fn minds_hosts(&self) -> bool {
        let upstream = &self.settings().upstream;
        upstream.hosts.len() > 1 || upstream.target_session_attrs.can_exclude()
    }

    /// No connection is to stay where it does not fit. It is said again with each survey, for those that
    /// were being opened.
    fn leave_unfit(&self) {
        let (unfit, news) = self.watch.unfit();
        for host in news {
            warn!(
                pool = %self.settings().name,
                host = %self.target().name(host),
                target_session_attrs = self.settings().upstream.target_session_attrs.word(),
                "this host does not fit any more, or does not answer: its connections are closed"
            );
        }
        let in_use = self.hosts_in_use();
        for host in unfit.into_iter().filter(|host| in_use.contains(host)) {
            self.broadcast(|| ShardMessage::Leave { pool: self.index(), host });
        }
    }
}
