//! LocalSource against a real server.

use std::time::Duration;

use leasehold::clock::Moment;
use leasehold::credentials::{LeaseToken, LocalSettings, LocalSource, Source, SourceError};
use tempfile::NamedTempFile;

use crate::or_skip;
use crate::shop::{can_use, database, denied, gone, misconfigured, unavailable};
use crate::support::{Ca, Postgres, PostgresOptions, StopMode, wait_until};

/// A file with a URL, and settings that use it.
fn admin_file(url: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{url}\n")).unwrap();
    file
}

/// The admin that config/vault/database.sql makes: CREATEROLE, no superuser.
fn plain_admin(postgres: &Postgres) -> String {
    format!("postgresql://vault:it%27s%20a%20secret@127.0.0.1:{}/app", postgres.port())
}

fn issuer(settings: LocalSettings, pool: &str) -> Result<LocalSource, SourceError> {
    LocalSource::new(settings, pool, Some("app"))
}

fn settings(file: &NamedTempFile) -> LocalSettings {
    let creation = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' \
                    VALID UNTIL '{{expiration}}' IN ROLE {{role}}";
    LocalSettings {
        admin_url_file: file.path().to_owned(),
        creation_statements: vec![creation.into()],
        renew_statements: vec![],
        revocation_statements: vec![],
        default_ttl: Duration::from_secs(60),
        max_ttl: Duration::from_secs(600),
    }
}

async fn users(postgres: &Postgres) -> Vec<String> {
    postgres.roles_like("lh-%").await
}

/// Seconds until the role's VALID UNTIL.
async fn valid_for(postgres: &Postgres, user: &str) -> f64 {
    let client = postgres.connect().await;
    let query = "SELECT extract(epoch FROM rolvaliduntil - now())::float8 FROM pg_roles WHERE rolname = $1";
    client.query_one(query, &[&user]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_user_is_made_renewed_and_dropped_by_an_admin_who_is_no_superuser() {
    let postgres = or_skip!(database().await);
    postgres.execute("postgres", "ALTER SYSTEM SET log_statement = 'all'").await;
    postgres.execute("postgres", "SELECT pg_reload_conf()").await;
    let file = admin_file(&plain_admin(&postgres));
    let mut settings = settings(&file);
    settings.max_ttl = Duration::from_secs(62);
    let source = issuer(settings, "app").unwrap();
    assert_eq!(source.kind(), "local");

    let issued = source.issue().await.unwrap();
    assert!(can_use(&postgres, &issued).await);
    assert_eq!((issued.term.lease, issued.term.token_end), (Duration::from_secs(60), None));
    assert!(matches!(issued.grant.token, LeaseToken::None) && issued.term.renewable);
    // VALID UNTIL is the lease's end and 5 s, less the fraction of a second that the format drops.
    let life = valid_for(&postgres, &issued.login.user).await;
    let left = Moment::now().until(issued.term.end()).as_secs_f64();
    assert!(life >= left + 3.9 && life <= left + 30.0, "{life} {left}");
    let other = source.issue().await.unwrap();
    assert_eq!(users(&postgres).await.len(), 2);
    assert!(!postgres.log().contains(issued.login.password.expose()), "the password is in the server's log");
    assert!(postgres.log().contains("SCRAM-SHA-256$"));
    assert!(!format!("{source:?} {issued:?}").contains(issued.login.password.expose()));

    // What is left of max_ttl shrinks, and the answer with it.
    let shrunk = wait_until(Duration::from_secs(30), async || {
        let term = source.renew(&issued).await.unwrap();
        assert!(term.end() <= issued.term.sent + Duration::from_secs(62));
        term.lease < Duration::from_secs(59) && !term.renewable
    })
    .await;
    assert!(shrunk);

    source.revoke(&issued).await.unwrap();
    assert_eq!(users(&postgres).await, vec![other.login.user.clone()]);
    source.revoke(&issued).await.unwrap();
    gone(source.renew(&issued).await);
    source.revoke(&other).await.unwrap();
    assert!(users(&postgres).await.is_empty());
}

#[tokio::test]
async fn a_user_with_grants_of_its_own_is_dropped_as_vault_would() {
    let postgres = or_skip!(database().await);
    postgres.execute("app", "CREATE SCHEMA \"Odd one\"; CREATE TABLE \"Odd one\".t (a int, b int)").await;
    let file = admin_file(&postgres.admin().database("app").url());
    let mut granting = settings(&file);
    granting.creation_statements = vec![
        "CREATE ROLE \"{{username}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; \
         GRANT CONNECT ON DATABASE app TO \"{{name}}\""
            .into(),
        "DO $$ BEGIN EXECUTE format('GRANT SELECT ON stock TO %I', '{{name}}'); END; $$".into(),
        "GRANT USAGE ON SCHEMA \"Odd one\" TO \"{{name}}\"; GRANT ALL ON \"Odd one\".t TO \"{{name}}\""
            .into(),
    ];
    let source = issuer(granting.clone(), "grants").unwrap();
    let issued = source.issue().await.unwrap();
    source.revoke(&issued).await.unwrap();
    assert!(users(&postgres).await.is_empty());

    // Statements of the operator's own, for all three steps.
    granting.renew_statements =
        vec!["ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}' CONNECTION LIMIT 7".into()];
    granting.revocation_statements =
        vec!["DROP OWNED BY \"{{name}}\"".into(), "DROP ROLE \"{{name}}\"".into()];
    let source = issuer(granting, "grants").unwrap();
    let issued = source.issue().await.unwrap();
    source.renew(&issued).await.unwrap();
    let limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = $1";
    let row = postgres.connect().await.query_one(limit, &[&issued.login.user]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
    source.revoke(&issued).await.unwrap();
    source.revoke(&issued).await.unwrap();
    assert!(users(&postgres).await.is_empty());

    // A user that owns something cannot go: told, tried again, and gone when it can.
    let file = admin_file(&postgres.admin().database("app").url());
    let source = issuer(settings(&file), "owner").unwrap();
    let issued = source.issue().await.unwrap();
    postgres.execute("app", &format!("ALTER TABLE \"Odd one\".t OWNER TO \"{}\"", issued.login.user)).await;
    let told = unavailable(source.revoke(&issued).await);
    assert!(told.contains("2BP01") && told.contains("role"), "{told}");
    postgres.execute("app", "ALTER TABLE \"Odd one\".t OWNER TO postgres").await;
    source.revoke(&issued).await.unwrap();
}

#[tokio::test]
async fn recover_removes_what_a_crash_left_and_nothing_else() {
    let postgres = or_skip!(database().await);
    let file = admin_file(&plain_admin(&postgres));
    let start = |pool: &str| issuer(settings(&file), pool).unwrap();
    let living = start("app");
    let (kept, other_pool) = (living.issue().await.unwrap(), start("app2"));
    let other = other_pool.issue().await.unwrap();
    drop(other_pool);

    // Two users of a process that died without revoking; one still has a session.
    let crashed = start("app");
    let (left, busy) = (crashed.issue().await.unwrap(), crashed.issue().await.unwrap());
    let place = postgres.admin().database("app").user(&busy.login.user, Some(busy.login.password.expose()));
    let session = place.connect().await;
    drop(crashed);

    // Look-alikes: the name without the comment, the comment of another user, a role with power.
    let like = left.login.user.replace("lh-app-", "lh-appx-");
    let twin = format!("{}9", left.login.user);
    let strong = format!("{}8", left.login.user);
    let comment = "(SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = '";
    postgres
        .execute(
            "app",
            &format!(
                "CREATE ROLE \"{like}\"; CREATE ROLE \"{twin}\" LOGIN; CREATE ROLE \"{strong}\" SUPERUSER; \
                 CREATE ROLE \"lh-app\"; \
                 DO $$ BEGIN EXECUTE format('COMMENT ON ROLE %I IS %L', '{strong}', {comment}{}')); END $$",
                left.login.user
            ),
        )
        .await;

    let next = start("app");
    let gone = wait_until(Duration::from_secs(60), async || {
        next.recover().await.unwrap();
        !users(&postgres).await.contains(&left.login.user)
    })
    .await;
    assert!(gone, "{:?}", users(&postgres).await);
    let mut rest = vec![
        kept.login.user.clone(),
        other.login.user.clone(),
        busy.login.user.clone(),
        like,
        twin,
        strong,
        "lh-app".to_owned(),
    ];
    rest.sort();
    let mut there = users(&postgres).await;
    there.sort();
    assert_eq!(there, rest);
    assert!(can_use(&postgres, &kept).await);

    // The last session ends, or the user's end passes: then it goes too.
    drop(session);
    let gone = wait_until(Duration::from_secs(60), async || next.recover().await.unwrap().removed == 1).await;
    assert!(gone);
    assert_eq!(next.recover().await.unwrap().removed, 0);

    // A restart of the server takes all locks; who lives has its own again soon, unasked.
    let mut postgres = postgres;
    postgres.restart().await;
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1818583411";
    let held = wait_until(Duration::from_secs(60), async || {
        let row = postgres.connect().await.query_one(locks, &[]).await.unwrap();
        row.get::<_, i64>(0) == 2
    })
    .await;
    assert!(held, "a living instance did not take its lock again");
    assert_eq!(next.recover().await.unwrap().removed, 0);
    living.revoke(&kept).await.unwrap();
}

#[tokio::test]
async fn a_user_whose_making_was_given_up_is_gone_after_the_next_issue() {
    let postgres = or_skip!(database().await);
    let file = admin_file(&plain_admin(&postgres));
    let mut slow = settings(&file);
    slow.creation_statements.push("SELECT pg_sleep(0.3)".into());
    let source = issuer(slow, "app").unwrap();
    // Given up at moments all around the commit.
    let mut expected = Vec::new();
    for patience in (280..360).step_by(5).chain([0, 20, 50]) {
        match tokio::time::timeout(Duration::from_millis(patience), source.issue()).await {
            Ok(issued) => expected.push(issued.unwrap().login.user),
            Err(_given_up) => {}
        }
    }
    expected.push(source.issue().await.unwrap().login.user);
    expected.sort();
    let settled = wait_until(Duration::from_secs(60), async || {
        let mut there = users(&postgres).await;
        there.sort();
        there == expected
    })
    .await;
    assert!(settled, "{:?} instead of {expected:?}", users(&postgres).await);
}

#[tokio::test]
async fn each_failure_says_what_to_change() {
    let mut postgres = or_skip!(database().await);
    let file = admin_file(&plain_admin(&postgres));
    let good = settings(&file);
    let with = |change: fn(&mut LocalSettings)| {
        let mut settings = good.clone();
        change(&mut settings);
        issuer(settings, "app")
    };
    misconfigured(LocalSource::new(good.clone(), "app", None));
    misconfigured(with(|s| s.creation_statements = vec!["CREATE ROLE {{who}}".into()]));
    let told =
        misconfigured(with(|s| s.creation_statements = vec!["CRATE ROLE".into()]).unwrap().issue().await);
    assert!(told.contains("42601"), "{told}");
    let told =
        misconfigured(with(|s| s.creation_statements = vec!["SELECT 1".into()]).unwrap().issue().await);
    assert!(told.contains("no role"), "{told}");
    // One transaction: a failure in the second statement leaves no user.
    let half = with(|s| s.creation_statements.push("GRANT nosuch TO \"{{name}}\"".into())).unwrap();
    assert!(misconfigured(half.issue().await).contains("nosuch"));
    let superuser = with(|s| s.creation_statements = vec!["CREATE ROLE \"{{name}}\" SUPERUSER".into()]);
    assert!(denied(superuser.unwrap().issue().await).contains("CREATEROLE"));
    assert!(users(&postgres).await.is_empty());

    let source = issuer(good.clone(), "app").unwrap();
    let issued = source.issue().await.unwrap();
    std::fs::write(file.path(), plain_admin(&postgres).replace("vault:it", "vault:hunter2")).unwrap();
    let fresh = issuer(good.clone(), "app").unwrap();
    let told = denied(fresh.issue().await);
    assert!(told.contains("28P01") && !told.contains("hunter2"), "{told}");
    std::fs::write(file.path(), "nonsense hunter2").unwrap();
    let told = misconfigured(fresh.issue().await);
    assert!(told.contains("postgresql://") && !told.contains("hunter2"), "{told}");
    std::fs::remove_file(file.path()).unwrap();
    assert!(misconfigured(fresh.issue().await).contains("admin_url_file"));
    // The connection that is open needs no file.
    source.renew(&issued).await.unwrap();
    std::fs::write(file.path(), plain_admin(&postgres)).unwrap();
    fresh.revoke(&fresh.issue().await.unwrap()).await.unwrap();

    postgres.stop(StopMode::Immediate).await;
    unavailable(source.issue().await);
    unavailable(source.renew(&issued).await);
    postgres.start_again().await;
    source.renew(&issued).await.unwrap();
    postgres.execute("app", &format!("DROP ROLE \"{}\"", issued.login.user)).await;
    gone(source.renew(&issued).await);
}

#[tokio::test]
async fn the_admin_connection_checks_certificates_as_libpq_does() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let options = PostgresOptions {
        tls: Some(ca.issue(&["127.0.0.1"])),
        hba: vec!["hostnossl all all 127.0.0.1/32 reject".into()],
        ..PostgresOptions::default()
    };
    let postgres = or_skip!(Postgres::start_with(options).await);
    let base = postgres.admin_url();
    let bare = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    let (own, foreign) = (ca.file().display().to_string(), stranger.file().display().to_string());
    let cases = [
        (format!("{base}?sslmode=verify-full&sslrootcert={own}"), true),
        (format!("{base}?sslmode=verify-ca&sslrootcert={own}"), true),
        (base.replace("127.0.0.1", "localhost") + "?sslmode=verify-ca&sslrootcert=" + &own, true),
        (base.replace("127.0.0.1", "localhost") + "?sslmode=verify-full&sslrootcert=" + &own, false),
        (format!("{base}?sslmode=verify-full&sslrootcert={foreign}"), false),
        (format!("{base}?sslmode=require&sslrootcert={foreign}"), false),
        (format!("{base}?sslmode=require"), true),
        (base.clone(), true),
        (format!("{base}?sslmode=disable"), false),
    ];
    for (url, works) in cases {
        let file = admin_file(&url);
        let mut settings = settings(&file);
        settings.creation_statements = vec![bare.into()];
        let source = issuer(settings, "tls").unwrap();
        match source.issue().await {
            Ok(issued) => {
                assert!(works, "{url}");
                source.revoke(&issued).await.unwrap();
            }
            Err(error) => assert!(!works, "{url}: {error}"),
        }
    }
}
