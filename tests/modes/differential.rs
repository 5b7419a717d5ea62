//! Each script is played to the server itself and through the proxy: the answers must be
//! the same, byte for byte.

use tokio_postgres::Client;

use super::scripts::{Script, scripts};
use crate::or_skip;
use crate::support::Missing;
use crate::wire_client::message::kinds;
use crate::wire_client::{Message, Pieces, Plan, Stand, converse};

/// A proxy with one upstream, and the table that scripts work on.
pub struct Bench {
    pub stand: Stand,
    admin: Client,
}

impl Bench {
    pub async fn start(mode: &'static str) -> Result<Self, Missing> {
        let stand = Stand::start_with(Plan { mode, pool_size: 1, ..Plan::default() }).await?;
        let admin = stand.postgres.connect().await;
        admin
            .batch_execute("CREATE TABLE t (n int PRIMARY KEY, word text); GRANT ALL ON t TO app")
            .await
            .unwrap();
        Ok(Self { stand, admin })
    }

    async fn refill(&self) {
        let sql = "TRUNCATE t; INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 20) n";
        self.admin.batch_execute(sql).await.unwrap();
    }

    /// What the server itself says.
    pub async fn directly(&self, script: &[u8]) -> Vec<Message> {
        self.refill().await;
        converse(self.stand.direct().await, script, &Pieces::Whole).await
    }

    /// What comes through the proxy, on an upstream without anybody's state.
    pub async fn through(&self, script: &[u8], pieces: &Pieces) -> Vec<Message> {
        self.refill().await;
        let mut cleaner = self.stand.client().await;
        cleaner.query("DISCARD ALL").await;
        cleaner.leave().await;
        converse(self.stand.client().await, script, pieces).await
    }
}

/// Where two answers part, for people.
pub fn difference(direct: &[Message], through: &[Message]) -> Option<String> {
    if direct == through {
        return None;
    }
    let at = direct.iter().zip(through).take_while(|(a, b)| a == b).count();
    Some(format!(
        "they part at message {at}:\n direct {:?}\nthrough {:?}\n direct {}\nthrough {}",
        direct.get(at),
        through.get(at),
        kinds(direct),
        kinds(through)
    ))
}

async fn play_all(mode: &'static str) -> Result<(), Missing> {
    let bench = Bench::start(mode).await?;
    let mut wrong = Vec::new();
    for Script { name, bytes, expected } in scripts() {
        let direct = bench.directly(&bytes).await;
        let said = kinds(&direct);
        if !said.starts_with(expected) {
            wrong.push(format!("{name}: the server said {said} and not {expected}"));
        }
        for pieces in [Pieces::Whole, Pieces::Of(vec![1]), Pieces::Of(vec![4, 1, 11, 2])] {
            let through = bench.through(&bytes, &pieces).await;
            wrong.extend(difference(&direct, &through).map(|it| format!("{name}, {pieces:?}: {it}")));
            assert!(wrong.len() < 4, "{mode}:\n{}", wrong.join("\n"));
        }
    }
    assert!(wrong.is_empty(), "{mode}:\n{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn every_script_is_answered_in_transaction_mode_as_by_the_server_itself() {
    or_skip!(play_all("transaction").await);
}

#[tokio::test]
async fn every_script_is_answered_in_session_mode_as_by_the_server_itself() {
    or_skip!(play_all("session").await);
}
