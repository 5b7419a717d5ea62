//! Statements whose result has another shape than when they were prepared.

use crate::or_skip;
use crate::together::batch;
use crate::wire_client::message::{
    bind, describe_portal, describe_statement, execute, kinds, message, parse, sync,
};
use crate::wire_client::{Message, Plan, Stand, WireClient};

/// PostgreSQL refuses a prepared statement whose result has another shape by now; prepared
/// anew it is good, and so it is here, on each upstream, for those who come later too.
#[tokio::test]
async fn a_statement_whose_table_changed_is_prepared_anew() {
    let stand = or_skip!(Stand::start_with(Plan { pool_size: 2, ..Plan::default() }).await);
    stand.ask("CREATE TABLE shape AS SELECT 1 AS a; GRANT ALL ON shape TO app").await;
    let mut one = stand.client().await;
    let mut two = stand.client().await;
    let run = [bind("", "s", &[]), execute("", 0), sync()];
    for client in [&mut one, &mut two] {
        batch(client, &[parse("s", "SELECT * FROM shape"), sync()]).await;
    }
    // Both upstreams have it.
    one.query("BEGIN").await;
    assert_eq!(kinds(&batch(&mut one, &run).await), "2DCZ");
    assert_eq!(kinds(&batch(&mut two, &run).await), "2DCZ");
    one.query("COMMIT").await;
    stand.ask("ALTER TABLE shape ADD b int").await;
    let refused = batch(&mut one, &run).await;
    assert_eq!(refused[0].field(b'C'), "0A000", "{refused:?}");
    one.query("BEGIN").await;
    assert_eq!(kinds(&batch(&mut one, &run).await), "2DCZ");
    assert_eq!(kinds(&batch(&mut two, &run).await), "2DCZ");
    one.query("COMMIT").await;
    let mut three = stand.client().await;
    batch(&mut three, &[parse("s", "SELECT * FROM shape"), sync()]).await;
    assert_eq!(kinds(&batch(&mut three, &run).await), "2DCZ");
}

/// Two clients have prepared it as `s`, and both upstreams have it; then the table gets a column.
async fn outdated(clients: [&mut WireClient; 2], stand: &Stand) {
    stand.ask("CREATE TABLE shape AS SELECT 1 AS a; GRANT ALL ON shape TO app").await;
    let [one, two] = clients;
    let run = [bind("", "s", &[Some("0")]), execute("", 0), sync()];
    for client in [&mut *one, &mut *two] {
        batch(client, &[parse("s", "SELECT * FROM shape WHERE a > $1"), sync()]).await;
    }
    one.query("BEGIN").await;
    assert_eq!(kinds(&batch(one, &run).await), "2DCZ");
    assert_eq!(kinds(&batch(two, &run).await), "2DCZ");
    one.query("COMMIT").await;
    stand.ask("ALTER TABLE shape ADD b int DEFAULT 2").await;
}

fn code(answers: &[Message]) -> String {
    let error = answers.iter().find(|message| message.kind == b'E');
    error.map(|message| message.field(b'C')).unwrap_or_default()
}

/// A client that asks what it will get is told, and never hears that it was something else before.
#[tokio::test]
async fn who_asks_what_it_will_get_never_hears_of_another_shape() {
    let asks_portal =
        |value| [bind("", "s", &[Some(value)]), describe_portal(""), execute("", 0), sync()].concat();
    let asks_statement = [describe_statement("s"), sync()].concat();
    for (sent, answers) in [(asks_portal("0"), "2TDCZ"), (asks_statement, "tTZ")] {
        let stand = or_skip!(Stand::start_with(Plan { pool_size: 2, ..Plan::default() }).await);
        let (mut one, mut two) = (stand.client().await, stand.client().await);
        outdated([&mut one, &mut two], &stand).await;
        let said = batch(&mut one, std::slice::from_ref(&sent)).await;
        assert_eq!((kinds(&said), fields(&said)), (answers.to_owned(), 2), "{said:?}");
        // The other one comes to the other upstream.
        one.query("BEGIN").await;
        one.query("SELECT 1").await;
        let said = batch(&mut two, &[sent]).await;
        assert_eq!((kinds(&said), fields(&said)), (answers.to_owned(), 2), "{said:?}");
        one.query("COMMIT").await;
    }
}

/// How many columns a RowDescription has.
fn fields(answers: &[Message]) -> u16 {
    let description = answers.iter().find(|message| message.kind == b'T').unwrap();
    u16::from_be_bytes([description.body[0], description.body[1]])
}

/// In a transaction, without the question what it gets, with parameters in binary: the error.
#[tokio::test]
async fn who_cannot_know_gets_the_error_as_from_the_server() {
    let text = bind("", "s", &[Some("0")]);
    let mut binary = b"\0s\0\0\x01\0\x01\0\x01\0\0\0\x04".to_vec();
    binary.extend([0, 0, 0, 0, 0, 0]);
    let binary = message(b'B', &binary);
    let batch_of = |bind: &[u8], describe: &[u8]| [bind, describe, &execute("", 0), &sync()].concat();
    for (begin, sent) in [
        (true, batch_of(&text, &describe_portal(""))),
        (false, batch_of(&text, &[])),
        (false, batch_of(&binary, &describe_portal(""))),
    ] {
        let stand = or_skip!(Stand::start_with(Plan { pool_size: 2, ..Plan::default() }).await);
        let (mut one, mut two) = (stand.client().await, stand.client().await);
        outdated([&mut one, &mut two], &stand).await;
        if begin {
            one.query("BEGIN").await;
        }
        let said = batch(&mut one, std::slice::from_ref(&sent)).await;
        assert_eq!((kinds(&said), code(&said)), ("EZ".to_owned(), "0A000".to_owned()));
        if begin {
            one.query("ROLLBACK").await;
        }
        let said = batch(&mut one, &[sent]).await;
        assert!(kinds(&said).ends_with("DCZ"), "{said:?}");
        assert_eq!(one.value("SELECT 'well'").await, "well");
    }
}
