//! A mix of statements by sqlx with its default settings, each answer checked; ../README.md says
//! what the mix is and how it is called.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::{random, random_range};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow, PgSslMode};
use sqlx::query::Query;
use sqlx::types::time::OffsetDateTime;
use sqlx::{Connection, Executor, Postgres, Row, query};

const TABLE: &str = "mix_sqlx";

/// What a time zone makes of noon, the first of July 2024, in UTC.
const ZONES: [(&str, &str); 4] = [
    ("UTC", "2024-07-01 12:00:00+00"),
    ("Asia/Tokyo", "2024-07-01 21:00:00+09"),
    ("America/New_York", "2024-07-01 08:00:00-04"),
    ("Asia/Kolkata", "2024-07-01 17:30:00+05:30"),
];

type Checked<T = ()> = Result<T, String>;

fn expect<T: PartialEq<U> + Debug, U: Debug>(what: &str, got: T, expected: U) -> Checked {
    if got == expected { Ok(()) } else { Err(format!("{what}: got {got:?}, expected {expected:?}")) }
}

/// The text of an error, with what was being done.
trait During<T> {
    fn during(self, what: &str) -> Checked<T>;
}

impl<T> During<T> for Result<T, sqlx::Error> {
    fn during(self, what: &str) -> Checked<T> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

struct Mix {
    connection: PgConnection,
    settings: bool,
    own: i64,
    application_name: String,
    tenant: String,
    zone: (&'static str, &'static str),
    next: i64,
    count: i64,
    total: i64,
}

impl Mix {
    async fn start(options: &PgConnectOptions, number: usize, settings: bool) -> Checked<Self> {
        let connection = PgConnection::connect_with(options).await.during("connect")?;
        let mut mix = Self {
            connection,
            settings,
            own: random_range(1..1 << 40),
            application_name: format!("sqlx-{number}-{}", random::<u32>()),
            tenant: format!("tenant-{number}-{}", random::<u32>()),
            zone: ZONES[number % ZONES.len()],
            next: 0,
            count: 0,
            total: 0,
        };
        if settings {
            let sql = format!("SET application_name = '{}'", mix.application_name);
            mix.connection.execute(query(&sql)).await.during(&sql)?;
            // Without parameters and not a `query`: the simple protocol.
            let sql = format!("SET TimeZone = '{}'", mix.zone.0);
            mix.connection.execute(sql.as_str()).await.during(&sql)?;
            if number % 2 == 0 {
                let sql = format!("SET app.tenant = '{}'", mix.tenant);
                mix.connection.execute(sql.as_str()).await.during(&sql)?;
            } else {
                let tenant = mix.tenant.clone();
                mix.row("set_config", query("SELECT set_config('app.tenant', $1, false)").bind(tenant))
                    .await?;
            }
        }
        Ok(mix)
    }

    async fn row(&mut self, what: &str, query: Query<'_, Postgres, PgArguments>) -> Checked<PgRow> {
        query.fetch_one(&mut self.connection).await.during(what)
    }

    async fn same_text(&mut self) -> Checked {
        let (number, text) = (random_range(0..1_000_000_i64), format!("it's {}", random::<u32>()));
        // Now a statement with a name, now the unnamed one.
        let query = query("SELECT $1::int8 + $2::int8, $3::text || '!'").persistent(random());
        let row = self.row("same text", query.bind(self.own).bind(number).bind(&text)).await?;
        expect("same text", row.get::<i64, _>(0), self.own + number)?;
        expect("same text", row.get::<String, _>(1), text + "!")
    }

    async fn many_texts(&mut self) -> Checked {
        let k = if random_range(0..8) == 0 { random_range(0..150_i64) } else { random_range(0..40) };
        let what = format!("text {k}");
        if k % 2 == 0 {
            let sql = format!("SELECT $1::int8 * {k} AS v{k}");
            let row = self.row(&what, query(&sql).bind(self.own)).await?;
            expect(&what, row.get::<i64, _>(0), self.own * k)
        } else {
            let sql = format!("SELECT $1::text || '-{k}', {k}::int8");
            let tenant = self.tenant.clone();
            let row = self.row(&what, query(&sql).bind(&tenant)).await?;
            expect(&what, row.get::<String, _>(0), format!("{tenant}-{k}"))?;
            expect(&what, row.get::<i64, _>(1), k)
        }
    }

    async fn transaction(&mut self) -> Checked {
        self.next += 1;
        let (own, next) = (self.own, self.next);
        let (amount, more) = (random_range(0..1000_i64), random_range(0..1000_i64));
        let mut transaction = self.connection.begin().await.during("begin")?;
        let sql = format!("INSERT INTO {TABLE} VALUES ($1, $2, $3, $4) RETURNING id");
        let insert = query(&sql).bind(own).bind(next).bind(amount).bind(&self.tenant);
        let row = insert.fetch_one(&mut *transaction).await.during("insert")?;
        expect("insert", row.get::<i64, _>(0), next)?;
        let sql = format!("UPDATE {TABLE} SET amount = amount + $3 WHERE client = $1 AND id = $2");
        let update = query(&sql).bind(own).bind(next).bind(more);
        let updated = update.execute(&mut *transaction).await.during("update")?;
        expect("update", updated.rows_affected(), 1_u64)?;
        let (mut count, mut total) = (self.count + 1, self.total + amount + more);
        if count > 20 {
            let sql = format!("DELETE FROM {TABLE} WHERE client = $1");
            let deleted = query(&sql).bind(own).execute(&mut *transaction).await.during("delete")?;
            expect("delete", deleted.rows_affected(), count.unsigned_abs())?;
            (count, total) = (0, 0);
        }
        sums("in the transaction", &mut transaction, own, (count, total)).await?;
        match random_range(0..4) {
            // A transaction that is dropped is rolled back ahead of the next statement.
            0 => drop(transaction),
            1 => transaction.rollback().await.during("rollback")?,
            _ => {
                transaction.commit().await.during("commit")?;
                (self.count, self.total) = (count, total);
            }
        }
        sums("after the transaction", &mut self.connection, own, (self.count, self.total)).await
    }

    async fn types(&mut self) -> Checked {
        let numbers = vec![random::<i32>(), 0, -1];
        let texts = ["a \"quoted\" one", "it's, {with} a \\ backslash", ""].map(|text| Some(text.to_owned()));
        let texts = [texts.to_vec(), vec![None]].concat();
        let text = format!("O'Brien \\ \"x\" $1 {}", random::<u32>());
        let micros = i128::from(random_range(0..2_000_000_000_000_000_i64));
        let at =
            OffsetDateTime::from_unix_timestamp_nanos(micros * 1000).map_err(|error| error.to_string())?;
        let raw: Vec<u8> = (0..random_range(1..40)).map(|_| random()).collect();
        let sql = "SELECT $1::int4[], $2::text[], $3::text, $4::timestamptz, $5::bytea, $6::int4, $7::text, $8::bool";
        let query = query(sql).bind(&numbers).bind(&texts).bind(&text).bind(at).bind(&raw);
        let row = self.row("types", query.bind(None::<i32>).bind(None::<&str>).bind(true)).await?;
        expect("types, numbers", row.get::<Vec<i32>, _>(0), numbers)?;
        expect("types, texts", row.get::<Vec<Option<String>>, _>(1), texts)?;
        expect("types, text", row.get::<String, _>(2), text)?;
        expect("types, time", row.get::<OffsetDateTime, _>(3), at)?;
        expect("types, bytes", row.get::<Vec<u8>, _>(4), raw)?;
        expect("types, null", row.get::<Option<i32>, _>(5), None::<i32>)?;
        expect("types, null text", row.get::<Option<String>, _>(6), None::<String>)?;
        expect("types, bool", row.get::<bool, _>(7), true)
    }

    async fn failure(&mut self) -> Checked {
        const QUOTIENT: &str = "SELECT $1::int8 / $2::int8";
        let failed = if random() {
            query(QUOTIENT).bind(self.own).bind(0_i64).execute(&mut self.connection).await
        } else {
            self.connection.execute("SELECT 1 / 0").await
        };
        match failed {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("22012") => {}
            other => return Err(format!("division by zero: got {other:?}, expected 22012")),
        }
        let row = self.row("after an error", query(QUOTIENT).bind(self.own).bind(1_i64)).await?;
        expect("after an error", row.get::<i64, _>(0), self.own)
    }

    async fn check_settings(&mut self) -> Checked {
        let sql = "SELECT current_setting('application_name'), current_setting('app.tenant'), \
                   current_setting('TimeZone'), '2024-07-01 12:00:00+00'::timestamptz::text";
        let row = self.row("settings", query(sql)).await?;
        let got: [String; 4] = std::array::from_fn(|column| row.get(column));
        expect("settings", got, [&self.application_name, self.tenant.as_str(), self.zone.0, self.zone.1])
    }

    async fn prepared(&mut self) -> Checked {
        let number = random_range(0..1_000_000_i64);
        let sql = format!("SELECT $1::int8 + {}, $2::text", self.own);
        let tenant = self.tenant.clone();
        let row = self.row("prepared", query(&sql).bind(number).bind(&tenant)).await?;
        expect("prepared", row.get::<i64, _>(0), number + self.own)?;
        expect("prepared", row.get::<String, _>(1), tenant)
    }

    async fn step(&mut self) -> Checked {
        match random_range(0..11) {
            0..2 => self.same_text().await,
            2..5 => self.many_texts().await,
            5 => self.transaction().await,
            6 => self.types().await,
            7 => self.failure().await,
            8 if self.settings => self.check_settings().await,
            _ => self.prepared().await,
        }
    }
}

async fn sums(what: &str, connection: &mut PgConnection, own: i64, expected: (i64, i64)) -> Checked {
    let sql = format!("SELECT count(*), coalesce(sum(amount), 0)::int8 FROM {TABLE} WHERE client = $1");
    let row = query(&sql).bind(own).fetch_one(connection).await.during(what)?;
    expect(what, (row.get::<i64, _>(0), row.get::<i64, _>(1)), expected)
}

async fn run() -> Checked<String> {
    const USAGE: &str = "HOST PORT DATABASE USER SECONDS CLIENTS [--no-settings]";
    let (switches, words): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|word| word == "--no-settings");
    let [host, port, database, user, seconds, clients] = words.as_slice() else {
        return Err(USAGE.to_owned());
    };
    let number = |word: &str| word.parse::<u16>().map_err(|_| USAGE.to_owned());
    let (seconds, clients) = (number(seconds)?, usize::from(number(clients)?));
    let options = PgConnectOptions::new_without_pgpass()
        .host(host)
        .port(number(port)?)
        .database(database)
        .username(user)
        .ssl_mode(PgSslMode::Disable);
    let mut first = PgConnection::connect_with(&options).await.during("connect")?;
    for sql in [
        format!("DROP TABLE IF EXISTS {TABLE}"),
        format!(
            "CREATE TABLE {TABLE} (client int8, id int8, amount int8, body text, PRIMARY KEY (client, id))"
        ),
    ] {
        first.execute(sql.as_str()).await.during(&sql)?;
    }
    first.close().await.during("close")?;
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let operations = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..clients {
        let (options, operations, settings) = (options.clone(), operations.clone(), switches.is_empty());
        tasks.spawn(async move {
            let run = async {
                let mut mix = Mix::start(&options, client, settings).await?;
                while Instant::now() < end {
                    mix.step().await?;
                    operations.fetch_add(1, Ordering::Relaxed);
                }
                mix.connection.close().await.during("close")
            };
            run.await.map_err(|error: String| format!("client={client}: {error}"))
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    let operations = operations.load(Ordering::Relaxed);
    Ok(format!("driver=sqlx mode=default clients={clients} operations={operations} errors=0"))
}

#[tokio::main]
async fn main() {
    match run().await {
        Ok(line) => println!("{line}"),
        Err(error) => {
            println!("driver=sqlx {error}");
            std::process::exit(1);
        }
    }
}
