//! What the log tells of clients: who ran as whom, who waited, and never too much of it.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio_postgres::{Client, NoTls};

use crate::or_skip;
use crate::support::form::is_long;
use crate::support::proxy::field;
use crate::support::wait_until;
use crate::wire_client::{Plan, Stand};

/// Only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);

fn plan(log: &str) -> Plan {
    Plan { pool_size: 1, more: format!("[log]\n{log}\n"), ..Plan::default() }
}

async fn client(stand: &Stand, application: &str) -> Client {
    let (client, connection) =
        stand.endpoint().config().application_name(application).connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn time(line: &Value, name: &str) -> SystemTime {
    humantime::parse_rfc3339(&field(line, name)).unwrap()
}

#[tokio::test]
async fn the_audit_tells_who_ran_as_which_user_from_when_to_when() {
    let stand = or_skip!(Stand::start_with(plan("audit = true")).await);
    let client = client(&stand, "shop").await;
    let before = SystemTime::now();
    client.batch_execute("BEGIN").await.unwrap();
    let row = client.query_one("SELECT session_user::text, pg_backend_pid()", &[]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    client.batch_execute("COMMIT").await.unwrap();
    let (user, pid): (String, i32) = (row.get(0), row.get(1));
    // Told as soon as the connection is given back, with the client still there.
    let told = async || !ran(&stand, "shop").is_empty();
    assert!(wait_until(PATIENCE, told).await, "{}", stand.proxy.log_text());
    let lines = ran(&stand, "shop");
    let line = lines.last().unwrap();
    assert_eq!((field(line, "user"), field(line, "pid")), (user, pid.to_string()), "{line}");
    assert_eq!((field(line, "pool"), field(line, "client_user")), ("app".to_owned(), "anyone".to_owned()));
    assert!(field(line, "address").starts_with("127.0.0.1:"), "{line}");
    assert_eq!(field(line, "generation"), "1");
    let (from, until) = (time(line, "from"), time(line, "until"));
    // Microseconds are written.
    assert!(from + Duration::from_millis(1) >= before && until <= SystemTime::now(), "{line}");
    assert!(until.duration_since(from).unwrap() >= Duration::from_millis(20), "{line}");
    // A client that vanishes in the middle of a transaction is told of too.
    let count = lines.len();
    client.batch_execute("BEGIN").await.unwrap();
    drop(client);
    let told = async || ran(&stand, "shop").len() == count + 1;
    assert!(wait_until(PATIENCE, told).await, "{}", stand.proxy.log_text());
}

/// Lines of the audit about an application.
fn ran(stand: &Stand, application: &str) -> Vec<Value> {
    let lines = stand.proxy.logged("ran").into_iter();
    lines
        .filter(|line| field(line, "target") == "leasehold::audit")
        .filter(|line| field(line, "application_name") == application)
        .collect()
}

#[tokio::test]
async fn a_long_wait_is_told_and_a_pool_that_is_full_once_a_minute() {
    let stand = or_skip!(Stand::start_with(plan("slow_checkout = \"1s\"")).await);
    // Others may be slow on a slow machine.
    let told = || -> Vec<Value> {
        let lines = stand.proxy.logged("slow checkout").into_iter();
        lines.filter(|line| field(line, "application_name") == "slow").collect()
    };
    let holder = stand.endpoint().connect().await;
    let waiter = client(&stand, "slow").await;
    for round in 1..=2 {
        holder.batch_execute("BEGIN").await.unwrap();
        let (answer, ()) = tokio::join!(waiter.simple_query("SELECT 1"), async {
            let saturated = async || !stand.proxy.logged("pool saturated").is_empty();
            assert!(wait_until(PATIENCE, saturated).await, "{}", stand.proxy.log_text());
            tokio::time::sleep(Duration::from_millis(1300)).await;
            holder.batch_execute("COMMIT").await.unwrap();
        });
        answer.unwrap();
        let slow = async || told().len() == round;
        assert!(wait_until(PATIENCE, slow).await, "{}", stand.proxy.log_text());
    }
    for line in told() {
        assert_eq!(field(&line, "pool"), "app");
        assert!(field(&line, "waited").parse::<f64>().unwrap() >= 1.0, "{line}");
    }
    let full = stand.proxy.logged("pool saturated");
    let [line] = &full[..] else { panic!("{full:?}") };
    assert_eq!(
        (field(line, "pool_size"), field(line, "waiting")),
        ("1".to_owned(), "1".to_owned()),
        "{line}"
    );
    // Nothing of this is told of a client that is served at once.
    waiter.simple_query("SELECT 1").await.unwrap();
    assert_eq!(told().len(), 2);
    assert!(ran(&stand, "slow").is_empty(), "nobody asked for an audit");
}

#[tokio::test]
async fn lines_of_one_kind_are_limited_and_the_rest_is_counted() {
    let stand = or_skip!(Stand::start_with(plan("most_alike = 3")).await);
    let console = stand.proxy.endpoint("leasehold").connect().await;
    for _ in 0..20 {
        console.batch_execute("ROTATE app").await.unwrap();
    }
    let asked = || stand.proxy.logged("rotation asked for at the console").len();
    assert!(wait_until(PATIENCE, async || asked() >= 3).await, "{}", stand.proxy.log_text());
    // Other lines are not held up by it: the switch that came of it is told.
    let switched = async || stand.proxy.logged("active").len() >= 2;
    assert!(wait_until(PATIENCE, switched).await, "{}", stand.proxy.log_text());
    assert_eq!(asked(), 3, "{}", stand.proxy.log_text());
    if is_long() {
        let told = async || !stand.proxy.logged("lines were left out").is_empty();
        assert!(wait_until(2 * PATIENCE, told).await, "{}", stand.proxy.log_text());
        let lines = stand.proxy.logged("lines were left out");
        let line = lines.iter().find(|line| field(line, "like").contains("rotation asked for")).unwrap();
        assert_eq!(
            (field(line, "pool"), field(line, "count")),
            ("app".to_owned(), "17".to_owned()),
            "{line}"
        );
    }
}
