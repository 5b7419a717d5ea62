//! How a pool comes to know its database's functions.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::debug;

use super::functions::{Functions, Source};
use super::settings::PoolMode;
use super::shared::Pool;
use crate::credentials::Generation;

/// How often it is asked whether there are other functions.
const EVERY: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whose source can be read: not the server's own, and not those in C.
const READABLE: &str = "FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
     WHERE p.pronamespace NOT IN ('pg_catalog'::pg_catalog.regnamespace, 'information_schema'::pg_catalog.regnamespace) \
     AND l.lanname NOT IN ('internal', 'c') AND p.prokind IN ('f', 'p')";

impl Pool {
    /// Asks for the functions as this generation's user. Without an answer, what was known stays.
    pub(super) async fn learn_functions(&self, generation: &Generation) {
        if self.settings().mode == PoolMode::Session {
            return;
        }
        let learnt = timeout(PATIENCE, self.ask_functions(generation)).await;
        if !learnt.is_ok_and(|learnt| learnt.is_some()) {
            debug!(pool = %self.settings().name, "no answer to the question for its functions");
        }
    }

    async fn ask_functions(&self, generation: &Generation) -> Option<()> {
        let ask = async |sql: &str| self.watch.ask(self.target(), generation, sql).await;
        let print = format!(
            "SELECT pg_catalog.count(*) || ':' || coalesce(pg_catalog.sum(\
             pg_catalog.hashtext(p.ctid::text || ' ' || p.xmin::text)::bigint), 0) {READABLE}"
        );
        let print = ask(&print).await?.into_iter().next()?.into_iter().next()?;
        if self.catalog.is_known(print.as_ref()) {
            return Some(());
        }
        let sources = format!(
            "SELECT p.proname, CASE WHEN p.prosrc = '' THEN pg_catalog.pg_get_functiondef(p.oid) ELSE p.prosrc END \
             {READABLE}"
        );
        let rows = ask(&sources).await?;
        let sources = rows.iter().filter_map(|row| match &row[..] {
            [Some(name), Some(body)] => Some(Source { name, body }),
            _ => None,
        });
        self.catalog.learn(print, Functions::of(&sources.collect::<Vec<_>>()));
        Some(())
    }

    /// Follows what becomes of the functions, for as long as there is a pool.
    pub async fn follow_functions(pool: Weak<Self>) {
        loop {
            sleep(EVERY).await;
            let Some(pool) = pool.upgrade() else { return };
            if let Some(generation) = pool.active().and_then(|id| pool.generation(id)) {
                pool.learn_functions(&generation).await;
                if pool.active() != Some(generation.id()) {
                    // Retired or paused meanwhile: nothing of ours is to stay connected.
                    pool.watch.close(generation.id());
                }
            }
        }
    }
}
