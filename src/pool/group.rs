//! Several pools of one server that share one user: one lease and one generation for all of
//! them. What the keeper asks of a fleet is asked of each.
//!
//! The user is good once one pool's database takes it. One that does not is tried again by itself,
//! and has no user meanwhile: a database that is gone must not end service for its neighbours.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join_all, select_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{sleep, timeout_at};
use tracing::{info, warn};

use super::shared::Pool;
use crate::credentials::{CutReason, Fleet, Generation, GenerationId, SurveyError, UserState, VerifyError};

/// Once one database has taken a user, the others get this long to do so too.
const OTHERS_WITHIN: Duration = Duration::from_secs(3);
/// How often a database that did not take it is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The pools of one `[credentials.NAME]`.
#[derive(Debug)]
pub struct PoolGroup {
    pools: Vec<Arc<Pool>>,
    /// Number of the active generation; 0: none.
    active: Arc<AtomicU64>,
    /// Why pools have not taken a user yet.
    late: Mutex<Vec<(GenerationId, usize, String)>>,
}

impl PoolGroup {
    /// A group of at least one.
    #[must_use]
    pub fn new(pools: Vec<Arc<Pool>>) -> Self {
        Self { pools, active: Arc::default(), late: Mutex::default() }
    }

    fn has(pool: &Pool, id: GenerationId) -> bool {
        pool.generation(id).is_some()
    }

    fn note_late(&self, id: GenerationId, pool: &Pool, why: String) {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.retain(|(known, ..)| known.number() >= id.number());
        late.push((id, pool.index(), why));
    }

    fn why_late(&self, id: GenerationId, pool: &Pool) -> Option<String> {
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let found = late.iter().rfind(|(known, index, _)| *known == id && *index == pool.index());
        found.map(|(.., why)| why.clone())
    }

    /// Asks one database again and again, until it takes the user or another one is active.
    fn try_again(&self, pool: &Arc<Pool>, generation: &Arc<Generation>) {
        let why = self.why_late(generation.id(), pool);
        let why = why.unwrap_or_else(|| "it gave no answer in time".to_owned());
        let (pool, generation, active) = (pool.clone(), generation.clone(), self.active.clone());
        let name = pool.settings().name.clone();
        warn!(database = %name, error = %why, "this database has no user yet; others that share it go on");
        pool.set_trouble(Some(why));
        tokio::spawn(async move {
            let id = generation.id();
            let current = || active.load(Ordering::Acquire) == id.number();
            loop {
                sleep(AGAIN).await;
                if !current() {
                    return;
                }
                if let Err(error) = Fleet::verify(&*pool, &generation).await {
                    pool.set_trouble(Some(error.to_string()));
                    continue;
                }
                if current() {
                    info!(database = %name, "this database has a user now");
                    pool.activate(&generation);
                }
                if !current() {
                    // Retired meanwhile, maybe before it was known here.
                    pool.retire(id);
                    pool.drained(id).await;
                }
                return;
            }
        });
    }

    fn unset_active(&self, id: GenerationId) {
        let _ = self.active.compare_exchange(id.number(), 0, Ordering::AcqRel, Ordering::Acquire);
    }
}

#[async_trait]
impl Fleet for PoolGroup {
    async fn verify(&self, generation: &Arc<Generation>) -> Result<(), VerifyError> {
        let ask = |pool: &Arc<Pool>| {
            let pool = pool.clone();
            async move {
                let verified = Fleet::verify(&*pool, generation).await;
                (pool, verified)
            }
        };
        let mut asked: FuturesUnordered<_> = self.pools.iter().map(ask).collect();
        let mut first_error = None;
        let mut deadline = None;
        loop {
            let next = match deadline {
                None => asked.next().await,
                Some(at) => timeout_at(at, asked.next()).await.unwrap_or(None),
            };
            match next {
                None if deadline.is_some() => return Ok(()),
                None => {
                    let nobody = || VerifyError::Unreachable { message: "there is no database".to_owned() };
                    return Err(first_error.unwrap_or_else(nobody));
                }
                Some((_, Ok(()))) => {
                    deadline.get_or_insert_with(|| tokio::time::Instant::now() + OTHERS_WITHIN);
                }
                // Not a matter of this database: the user, or what is in between, is wrong.
                Some((_, Err(error @ VerifyError::WrongIdentity { .. }))) => return Err(error),
                Some((pool, Err(error))) => {
                    self.note_late(generation.id(), &pool, error.to_string());
                    first_error.get_or_insert(error);
                }
            }
        }
    }

    async fn warm(&self, generation: &Arc<Generation>) -> usize {
        let known = self.pools.iter().filter(|pool| Self::has(pool, generation.id()));
        let warmed = join_all(known.map(|pool| pool.warm(generation))).await;
        warmed.into_iter().fold(0, usize::saturating_add)
    }

    fn activate(&self, generation: &Arc<Generation>) {
        self.active.store(generation.id().number(), Ordering::Release);
        for pool in &self.pools {
            if Self::has(pool, generation.id()) {
                pool.activate(generation);
            } else {
                self.try_again(pool, generation);
            }
        }
    }

    fn retire(&self, generation: GenerationId) {
        self.unset_active(generation);
        self.pools.iter().for_each(|pool| pool.retire(generation));
    }

    fn deactivate(&self, generation: GenerationId) {
        self.unset_active(generation);
        self.pools.iter().for_each(|pool| pool.deactivate(generation));
    }

    fn cancel_busy(&self, generation: GenerationId) {
        self.pools.iter().for_each(|pool| pool.cancel_busy(generation));
    }

    fn cut(&self, generation: GenerationId, reason: CutReason) {
        self.pools.iter().for_each(|pool| pool.cut(generation, reason));
    }

    fn connections(&self, generation: GenerationId) -> usize {
        let each = self.pools.iter().map(|pool| Fleet::connections(&**pool, generation));
        each.fold(0, usize::saturating_add)
    }

    async fn drained(&self, generation: GenerationId) {
        join_all(self.pools.iter().map(|pool| pool.drained(generation))).await;
    }

    async fn survey(&self, users: &[String], patience: Duration) -> Result<Vec<UserState>, SurveyError> {
        let mut last = SurveyError { message: "no user is active to ask with".to_owned() };
        // One server: each of its databases knows all users.
        let pools: Vec<&Arc<Pool>> = self.pools.iter().filter(|pool| pool.active().is_some()).collect();
        for (index, pool) in pools.iter().enumerate() {
            match pool.survey(users, patience).await {
                Ok(states) => {
                    // The others only look whether their hosts still fit.
                    let others = pools.iter().skip(index.saturating_add(1)).filter(|pool| pool.minds_hosts());
                    join_all(others.map(|pool| pool.survey(&[], patience))).await;
                    return Ok(states);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn suspicion(&self) {
        select_all(self.pools.iter().map(|pool| pool.suspicion())).await;
    }

    async fn wanted(&self) {
        select_all(self.pools.iter().map(|pool| pool.wanted())).await;
    }
}
