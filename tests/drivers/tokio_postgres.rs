//! tokio-postgres: statements by name, a cache of them as pools keep it, unnamed ones with typed
//! parameters, pipelines.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rand::{random, random_range};
use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, GenericClient, Row, Statement};

use crate::or_skip;
use crate::programs::{CLIENTS, SETTINGS, duration, server, stand};
use crate::support::Endpoint;

const TABLE: &str = "mix_tokio_postgres";

/// More texts than that are used, so that some statements are closed.
const MOST_CACHED: usize = 60;

/// What a time zone makes of noon, the first of July 2024, in UTC.
const ZONES: [(&str, &str); 4] = [
    ("UTC", "2024-07-01 12:00:00+00"),
    ("Asia/Tokyo", "2024-07-01 21:00:00+09"),
    ("America/New_York", "2024-07-01 08:00:00-04"),
    ("Asia/Kolkata", "2024-07-01 17:30:00+05:30"),
];

type Checked<T = ()> = Result<T, String>;
type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokio_postgres_with_named_statements_and_a_cache() {
    let stand = or_skip!(stand().await);
    let direct = run(&server(&stand), Duration::from_secs(1)).await;
    assert!(direct.is_ok(), "the test is wrong: it fails against PostgreSQL itself: {direct:?}");
    match run(&stand.endpoint(), duration()).await {
        Ok(operations) => {
            eprintln!(
                "driver=tokio-postgres mode=default clients={CLIENTS} operations={operations} errors=0"
            );
        }
        Err(error) => panic!("through the proxy: {error}\n{}", stand.proxy.log_text()),
    }
}

async fn run(at: &Endpoint, duration: Duration) -> Checked<usize> {
    let table = format!(
        "DROP TABLE IF EXISTS {TABLE}; \
         CREATE TABLE {TABLE} (client int8, id int8, amount int8, body text, PRIMARY KEY (client, id))"
    );
    at.connect().await.batch_execute(&table).await.during("create table")?;
    let end = Instant::now() + duration;
    let operations = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..CLIENTS {
        let (at, operations) = (at.clone(), operations.clone());
        tasks.spawn(async move {
            let drive = async {
                let mut mix = Mix::start(&at, number).await?;
                while Instant::now() < end {
                    mix.step().await?;
                    operations.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            };
            drive.await.map_err(|error: String| format!("client={number}: {error}"))
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap()?;
    }
    Ok(operations.load(Ordering::Relaxed))
}

fn expect<T: PartialEq<U> + Debug, U: Debug>(what: &str, got: T, expected: U) -> Checked {
    if got == expected { Ok(()) } else { Err(format!("{what}: got {got:?}, expected {expected:?}")) }
}

/// The text of an error, with what was being done.
trait During<T> {
    fn during(self, what: &str) -> Checked<T>;
}

impl<T> During<T> for Result<T, Error> {
    fn during(self, what: &str) -> Checked<T> {
        self.map_err(|error| format!("{what}: {error:?}"))
    }
}

struct Mix {
    client: Client,
    own_statement: Statement,
    cache: HashMap<String, Statement>,
    own: i64,
    application_name: String,
    tenant: String,
    zone: (&'static str, &'static str),
    next: i64,
    count: i64,
    total: i64,
}

impl Mix {
    async fn start(at: &Endpoint, number: usize) -> Checked<Self> {
        let client = at.try_connect().await.during("connect")?;
        let own = random_range(1..1_i64 << 40);
        let application_name = format!("tokio-postgres-{number}-{}", random::<u32>());
        let tenant = format!("tenant-{number}-{}", random::<u32>());
        let zone = ZONES[number % ZONES.len()];
        if SETTINGS {
            // Two in one message, one alone.
            let sql = format!("SET application_name = '{application_name}'; SET TimeZone = '{}'", zone.0);
            client.batch_execute(&sql).await.during(&sql)?;
            if number.is_multiple_of(2) {
                let sql = format!("SET app.tenant = '{tenant}'");
                client.batch_execute(&sql).await.during(&sql)?;
            } else {
                let sql = "SELECT set_config('app.tenant', $1, false)";
                client.query_one(sql, &[&tenant]).await.during(sql)?;
            }
        }
        let own_statement = client.prepare(&format!("SELECT $1::int8 + {own}, $2::text")).await;
        Ok(Self {
            client,
            own_statement: own_statement.during("prepare")?,
            cache: HashMap::new(),
            own,
            application_name,
            tenant,
            zone,
            next: 0,
            count: 0,
            total: 0,
        })
    }

    /// A statement from the cache, as pools have it; the one that must go is closed when it is dropped.
    async fn cached(&mut self, sql: &str) -> Checked<Statement> {
        if let Some(statement) = self.cache.get(sql) {
            return Ok(statement.clone());
        }
        if self.cache.len() >= MOST_CACHED {
            let oldest = self.cache.keys().nth(random_range(0..MOST_CACHED)).cloned();
            self.cache.remove(&oldest.unwrap());
        }
        let statement = self.client.prepare(sql).await.during(sql)?;
        self.cache.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    async fn row(&mut self, what: &str, sql: &str, values: Values<'_>) -> Checked<Row> {
        let statement = self.cached(sql).await?;
        self.client.query_one(&statement, values).await.during(what)
    }

    async fn same_text(&mut self) -> Checked {
        let (number, text) = (random_range(0..1_000_000_i64), format!("it's {}", random::<u32>()));
        let (sql, own) = ("SELECT $1::int8 + $2::int8, $3::text || '!'", self.own);
        let row = match random_range(0..3) {
            0 => self.row("same text", sql, &[&own, &number, &text]).await?,
            // Prepared by name, run and closed.
            1 => self.client.query_one(sql, &[&own, &number, &text]).await.during("same text, once")?,
            // The unnamed statement, in one round trip.
            _ => {
                let values: [(&(dyn ToSql + Sync), Type); 3] =
                    [(&own, Type::INT8), (&number, Type::INT8), (&text, Type::TEXT)];
                let rows = self.client.query_typed(sql, &values).await;
                rows.during("same text, typed")?.pop().ok_or("same text, typed: no row")?
            }
        };
        expect("same text", row.get::<_, i64>(0), own + number)?;
        expect("same text", row.get::<_, String>(1), text + "!")
    }

    async fn many_texts(&mut self) -> Checked {
        let k = if random_range(0..8) == 0 { random_range(0..150_i64) } else { random_range(0..40) };
        let what = format!("text {k}");
        let (own, tenant) = (self.own, self.tenant.clone());
        if k % 2 == 0 {
            let row = self.row(&what, &format!("SELECT $1::int8 * {k} AS v{k}"), &[&own]).await?;
            expect(&what, row.get::<_, i64>(0), own * k)
        } else {
            let row = self.row(&what, &format!("SELECT $1::text || '-{k}', {k}::int8"), &[&tenant]).await?;
            expect(&what, row.get::<_, String>(0), format!("{tenant}-{k}"))?;
            expect(&what, row.get::<_, i64>(1), k)
        }
    }

    async fn transaction(&mut self) -> Checked {
        self.next += 1;
        let (own, next) = (self.own, self.next);
        let (amount, more) = (random_range(0..1000_i64), random_range(0..1000_i64));
        let insert =
            self.cached(&format!("INSERT INTO {TABLE} VALUES ($1, $2, $3, $4) RETURNING id")).await?;
        let update = format!("UPDATE {TABLE} SET amount = amount + $3 WHERE client = $1 AND id = $2");
        let update = self.cached(&update).await?;
        let sums = format!("SELECT count(*), coalesce(sum(amount), 0)::int8 FROM {TABLE} WHERE client = $1");
        let sums = self.cached(&sums).await?;
        let transaction = self.client.transaction().await.during("begin")?;
        let row = transaction.query_one(&insert, &[&own, &next, &amount, &self.tenant]).await;
        expect("insert", row.during("insert")?.get::<_, i64>(0), next)?;
        let updated = transaction.execute(&update, &[&own, &next, &more]).await.during("update")?;
        expect("update", updated, 1_u64)?;
        let (mut count, mut total) = (self.count + 1, self.total + amount + more);
        if count > 20 {
            let sql = format!("DELETE FROM {TABLE} WHERE client = $1");
            let deleted = transaction.execute(sql.as_str(), &[&own]).await.during("delete")?;
            expect("delete", deleted, count.unsigned_abs())?;
            (count, total) = (0, 0);
        }
        check_sums("in the transaction", &transaction, &sums, own, (count, total)).await?;
        match random_range(0..4) {
            // A transaction that is dropped sends ROLLBACK and waits for nothing.
            0 => drop(transaction),
            1 => transaction.rollback().await.during("rollback")?,
            _ => {
                transaction.commit().await.during("commit")?;
                (self.count, self.total) = (count, total);
            }
        }
        check_sums("after the transaction", &self.client, &sums, own, (self.count, self.total)).await
    }

    /// Three statements sent before the first answer.
    async fn pipeline(&mut self) -> Checked {
        let (own, number) = (self.own, random_range(0..1_000_000_i64));
        let difference = self.cached("SELECT $1::int8 - $2::int8").await?;
        let text = self.cached("SELECT $1::text").await?;
        let (there, middle, back): (Values<'_>, Values<'_>, Values<'_>) =
            (&[&own, &number], &[&self.tenant], &[&number, &own]);
        let (first, text, last) = tokio::join!(
            self.client.query_one(&difference, there),
            self.client.query_one(&text, middle),
            self.client.query_one(&difference, back),
        );
        expect("pipeline", first.during("pipeline")?.get::<_, i64>(0), own - number)?;
        expect("pipeline", text.during("pipeline")?.get::<_, String>(0), self.tenant.as_str())?;
        expect("pipeline", last.during("pipeline")?.get::<_, i64>(0), number - own)
    }

    async fn types(&mut self) -> Checked {
        let numbers = vec![Some(random::<i32>()), Some(0), None];
        let texts = vec![Some("a \"quoted\" one"), Some("it's, {with} a \\ backslash"), Some(""), None];
        let text = format!("O'Brien \\ \"x\" $1 {}", random::<u32>());
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(random_range(0..2_000_000_000_000_000));
        let raw: Vec<u8> = (0..random_range(1..40)).map(|_| random()).collect();
        let sql = "SELECT $1::int4[], $2::text[], $3::text, $4::timestamptz, $5::bytea, $6::int4, \
                   $7::text, $8::bool";
        let (null, null_text) = (None::<i32>, None::<&str>);
        let values: Values<'_> = &[&numbers, &texts, &text, &at, &raw, &null, &null_text, &true];
        let row = self.row("types", sql, values).await?;
        expect("types, numbers", row.get::<_, Vec<Option<i32>>>(0), numbers)?;
        expect("types, texts", row.get::<_, Vec<Option<&str>>>(1), texts)?;
        expect("types, text", row.get::<_, String>(2), text)?;
        expect("types, time", row.get::<_, SystemTime>(3), at)?;
        expect("types, bytes", row.get::<_, Vec<u8>>(4), raw)?;
        expect("types, null", row.get::<_, Option<i32>>(5), null)?;
        expect("types, null text", row.get::<_, Option<&str>>(6), null_text)?;
        expect("types, bool", row.get::<_, bool>(7), true)
    }

    async fn failure(&mut self) -> Checked {
        const QUOTIENT: &str = "SELECT $1::int8 / $2::int8";
        let own = self.own;
        let quotient = self.cached(QUOTIENT).await?;
        let failed = if random() {
            self.client.query_one(&quotient, &[&own, &0_i64]).await.map(drop)
        } else {
            self.client.batch_execute("SELECT 1 / 0").await
        };
        let code = failed.as_ref().err().and_then(Error::code);
        if code != Some(&SqlState::DIVISION_BY_ZERO) {
            return Err(format!("division by zero: got {failed:?}, expected 22012"));
        }
        let row = self.row("after an error", QUOTIENT, &[&own, &1_i64]).await?;
        expect("after an error", row.get::<_, i64>(0), own)
    }

    async fn check_settings(&mut self) -> Checked {
        let sql = "SELECT current_setting('application_name'), current_setting('app.tenant'), \
                   current_setting('TimeZone'), '2024-07-01 12:00:00+00'::timestamptz::text";
        let row = self.row("settings", sql, &[]).await?;
        let got: [String; 4] = std::array::from_fn(|column| row.get(column));
        expect("settings", got, [&self.application_name, self.tenant.as_str(), self.zone.0, self.zone.1])
    }

    async fn prepared(&mut self) -> Checked {
        let number = random_range(0..1_000_000_i64);
        let row = self.client.query_one(&self.own_statement, &[&number, &self.tenant]).await;
        let row = row.during("prepared")?;
        expect("prepared", row.get::<_, i64>(0), number + self.own)?;
        expect("prepared", row.get::<_, String>(1), self.tenant.as_str())
    }

    async fn step(&mut self) -> Checked {
        match random_range(0..12) {
            0..2 => self.same_text().await,
            2..5 => self.many_texts().await,
            5 => self.transaction().await,
            6 => self.pipeline().await,
            7 => self.types().await,
            8 => self.failure().await,
            9 if SETTINGS => self.check_settings().await,
            _ => self.prepared().await,
        }
    }
}

async fn check_sums(
    what: &str,
    client: &impl GenericClient,
    sums: &Statement,
    own: i64,
    expected: (i64, i64),
) -> Checked {
    let row = client.query_one(sums, &[&own]).await.during(what)?;
    expect(what, (row.get::<_, i64>(0), row.get::<_, i64>(1)), expected)
}
