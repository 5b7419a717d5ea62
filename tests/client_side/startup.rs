//! From the first byte to the first ReadyForQuery.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::or_skip;
use crate::support::wait::wait_for;
use crate::support::{Leasehold, Postgres};
use crate::wire_client::message::{gss_request, ssl_request};
use crate::wire_client::stand::{ANYONE, CREATION, DIRECT, admin_url_file, credentials};
use crate::wire_client::{Place, Plan, Refused, Stand, WireClient};

/// Only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn requests_for_encryption_are_answered_no_and_startup_goes_on_in_the_clear() {
    let stand = or_skip!(Stand::start().await);
    for requests in [&[ssl_request()][..], &[gss_request()], &[gss_request(), ssl_request()]] {
        let mut client = WireClient::open(&stand.place()).await.unwrap();
        for request in requests {
            client.send(request).await;
            assert_eq!(client.read_byte().await, b'N');
        }
        client.startup(0, &ANYONE).await.unwrap();
        assert_eq!(client.value("SELECT current_user").await, "app");
        client.leave().await;
    }
    // libpq asks for both before it goes on.
    let mut psql = stand.endpoint().command("psql");
    psql.env("PGSSLMODE", "prefer").args(["-X", "-A", "-t", "-c", "SELECT 'hello'"]);
    let said = crate::support::Program::run(psql, crate::wire_client::client::PATIENCE).await.success();
    assert_eq!(said.trim(), "hello");
}

#[tokio::test]
async fn the_unix_socket_is_private_from_the_moment_it_can_be_reached() {
    let directory = tempfile::tempdir().unwrap();
    let port = crate::support::ports::Port::claim();
    let path = directory.path().join(format!(".s.PGSQL.{}", port.number()));
    let stop = Arc::new(AtomicBool::new(false));
    // The first mode that anybody can see, which is the one that counts.
    let watcher = {
        let (path, stop) = (path.clone(), stop.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if let Ok(found) = std::fs::metadata(&path) {
                    return Some(found.permissions().mode() & 0o777);
                }
            }
            None
        })
    };
    let listen = format!("tcp = '127.0.0.1:{}'\nunix_dir = {:?}", port.number(), directory.path());
    let started = Stand::start_with(Plan { listen, ..Plan::default() }).await;
    stop.store(true, Ordering::Relaxed);
    let mut stand = or_skip!(started);
    assert_eq!(watcher.join().unwrap(), Some(0o600));
    let mut client = WireClient::connect(&Place::Unix(path.clone()), &ANYONE).await;
    assert_eq!(client.value("SELECT 1 + 1").await, "2");
    client.leave().await;
    assert_eq!(stand.proxy.terminate().await, 0);
    assert!(!path.exists(), "the socket stays behind");
}

#[tokio::test]
async fn who_comes_without_a_database_of_ours_is_told_which_there_are() {
    let stand = or_skip!(Stand::start().await);
    let refused = |params: &'static [(&'static str, &'static str)]| {
        let place = stand.place();
        async move { WireClient::try_connect(&place, params).await.unwrap_err() }
    };
    let Refused { severity, sqlstate, text, detail, .. } =
        refused(&[("user", "anyone"), ("database", "nosuch")]).await;
    assert_eq!((severity.as_str(), sqlstate.as_str()), ("FATAL", "3D000"));
    assert_eq!(text, "database \"nosuch\" does not exist");
    assert!(detail.contains("app"), "{detail}");
    // As with PostgreSQL, the database is by default the user's name.
    let by_name = refused(&[("user", "somebody")]).await;
    assert_eq!((by_name.sqlstate.as_str(), by_name.text.contains("somebody")), ("3D000", true));
    assert!(WireClient::try_connect(&stand.place(), &[("user", "app")]).await.is_ok());
    assert_eq!(refused(&[("database", "app")]).await.sqlstate, "28000");

    for wish in ["true", "database", "on", "1"] {
        let params = [&ANYONE[..], &[("replication", wish)]].concat();
        let refused = WireClient::try_connect(&stand.place(), &params).await.unwrap_err();
        assert_eq!(refused.sqlstate, "0A000", "{wish}: {refused:?}");
        assert!(refused.text.contains("replication"), "{refused:?}");
    }
    stand.client_with(&[("replication", "false")]).await.leave().await;
}

/// Startup parameters, and settings that must then show the same as on the server itself.
const PARAMETERS: &[&[(&str, &str)]] = &[
    &[],
    &[("client_encoding", "LATIN1")],
    &[("DateStyle", "SQL, DMY"), ("TimeZone", "Asia/Kathmandu")],
    &[("application_name", "it's \"ours\""), ("extra_float_digits", "3")],
    &[("datestyle", "German"), ("DateStyle", "Postgres, MDY")],
    &[("options", "-c work_mem=8MB --search-path=public -c IntervalStyle=iso_8601")],
    &[("options", "-e -fh -f n -S 2048")],
    &[("options", r"-c application_name=from\ options -cTimeZone=UTC"), ("TimeZone", "Europe/Paris")],
    &[("search_path", "\"$user\", public, \"odd name\""), ("my.own", "x")],
    &[("standard_conforming_strings", "off"), ("options", "-c statement_timeout=12345")],
];
const SHOWN: &[&str] = &[
    "client_encoding",
    "DateStyle",
    "TimeZone",
    "application_name",
    "extra_float_digits",
    "work_mem",
    "search_path",
    "IntervalStyle",
    "enable_hashjoin",
    "enable_nestloop",
    "standard_conforming_strings",
    "statement_timeout",
];

#[tokio::test]
async fn what_a_client_asks_for_at_startup_is_reported_and_shown_as_by_the_server_itself() {
    // Clients come one after the other over the same connections: nothing of one may be seen by the next.
    for mode in ["transaction", "session"] {
        let stand = or_skip!(Stand::start_with(Plan { mode, pool_size: 2, ..Plan::default() }).await);
        for round in 0..2 {
            for params in PARAMETERS {
                let mut direct = stand.direct_with(params).await;
                let mut client = stand.client_with(params).await;
                let seen = |client: &WireClient| {
                    let mut all = client.params.clone();
                    // Who is logged in differs by nature.
                    all.retain(|(name, _)| name != "session_authorization");
                    all.sort();
                    all
                };
                assert_eq!(seen(&client), seen(&direct), "{mode}, round {round}, {params:?}");
                for name in SHOWN {
                    let show = format!("SHOW {name}");
                    let (ours, theirs) = (client.value(&show).await, direct.value(&show).await);
                    assert_eq!(ours, theirs, "{mode}, round {round}, {params:?}: {name}");
                }
                client.leave().await;
                direct.leave().await;
            }
        }
    }
}

#[tokio::test]
async fn a_startup_setting_that_the_server_refuses_is_refused_in_its_words() {
    for mode in ["transaction", "session"] {
        let stand = or_skip!(Stand::start_with(Plan { mode, pool_size: 1, ..Plan::default() }).await);
        for wrong in [
            [("DateStyle", "nonsense")],
            [("no_such_setting", "1")],
            [("options", "-c work_mem=lots")],
            [("client_encoding", "KLINGON")],
        ] {
            let server = Place::loopback(stand.postgres.port());
            let params = [&DIRECT[..], &wrong[..]].concat();
            let direct = WireClient::try_connect(&server, &params).await.unwrap_err();
            let params = [&ANYONE[..], &wrong[..]].concat();
            let ours = WireClient::try_connect(&stand.place(), &params).await.unwrap_err();
            let said = |refused: &Refused| {
                (refused.severity.clone(), refused.sqlstate.clone(), refused.text.clone())
            };
            assert_eq!(said(&ours), said(&direct), "{mode} {wrong:?}");
            // And the connection that was tried serves the next one.
            let mut next = stand.client().await;
            assert_eq!(next.value("SELECT 1").await, "1");
            next.leave().await;
        }
    }
}

#[tokio::test]
async fn protocol_3_2_has_longer_cancel_keys_and_what_is_newer_is_negotiated_down() {
    let stand = or_skip!(Stand::start().await);
    let meet = async |minor: u16, options: &[(&str, &str)]| {
        let mut client = WireClient::open(&stand.place()).await.unwrap();
        client.startup(minor, &[&ANYONE, options].concat()).await.unwrap();
        assert_eq!(client.value("SELECT 42").await, "42");
        client
    };
    let old = meet(0, &[]).await;
    assert_eq!((old.negotiated.clone(), old.secret.len()), (None, 4));
    let new = meet(2, &[]).await;
    assert_eq!(new.negotiated, None);
    assert!(new.secret.len() > 4 && new.secret.len() <= 256, "{}", new.secret.len());
    // NegotiateProtocolVersion: the newest version there is, and the options nobody knows.
    let body = |minor: u16, options: &[&str]| {
        let mut body = ((3_u32 << 16) | u32::from(minor)).to_be_bytes().to_vec();
        body.extend(u32::try_from(options.len()).unwrap().to_be_bytes());
        body.extend(options.iter().flat_map(|name| name.bytes().chain([0])));
        body
    };
    assert_eq!(meet(9999, &[]).await.negotiated, Some(body(2, &[])));
    assert_eq!(meet(0, &[("_pq_.x", "1")]).await.negotiated, Some(body(0, &["_pq_.x"])));
    let both = meet(9999, &[("_pq_.x", "1"), ("_pq_.y", "")]).await;
    assert_eq!(both.negotiated, Some(body(2, &["_pq_.x", "_pq_.y"])));
    // A protocol that is not ours is refused as PostgreSQL does it.
    let mut ancient = WireClient::open(&stand.place()).await.unwrap();
    ancient.send(&[0, 0, 0, 8, 0, 2, 0, 0]).await;
    let said = ancient.until_end().await;
    assert_eq!((said.len(), said[0].field(b'C')), (1, "0A000".to_owned()));
}

/// Without a user because the server says no, a client that asks has it asked again: it gets the
/// server's own error, and is in as soon as the server says yes.
#[tokio::test]
async fn a_database_that_comes_later_is_there_for_the_first_client_that_asks() {
    let postgres = or_skip!(Postgres::start().await);
    postgres.execute("postgres", "CREATE ROLE app NOLOGIN").await;
    let directory = tempfile::tempdir().unwrap();
    let credentials = credentials("app", &admin_url_file(&directory, &postgres), &[CREATION]);
    let config = format!(
        "[databases.app]\nhost = '127.0.0.1'\nport = {}\ndbname = 'later'\nsslmode = 'disable'\nrole = 'app'\n{credentials}",
        postgres.port()
    );
    let proxy = Leasehold::run(&config).await;
    let place = Place::loopback(proxy.port());
    let connect = || WireClient::try_connect(&place, &ANYONE);
    // Before the first user was tried it is not known yet.
    let refused =
        wait_for(PATIENCE, async || Some(connect().await.err()?).filter(|no| no.sqlstate != "57P03")).await;
    let refused = refused.unwrap_or_else(|| panic!("{}", proxy.log_text()));
    let said = "database \"later\" does not exist";
    assert_eq!((refused.severity.as_str(), refused.sqlstate.as_str()), ("FATAL", "3D000"), "{refused:?}");
    assert!(refused.text.contains(said), "{refused:?}");
    // Those of clients come at most once a second, beside some of its own, which become ever more rare.
    let told = || proxy.log_text().lines().filter(|line| line.contains("does not exist")).count();
    let (before, began) = (told(), Instant::now());
    let mut clients = 0;
    while began.elapsed() < Duration::from_secs(4) {
        assert_eq!(connect().await.err().unwrap().sqlstate, "3D000");
        clients += 1;
    }
    let (tries, seconds) = (told() - before, began.elapsed().as_secs());
    // Each client waits for a try: if they came as often as clients do, there would be hundreds.
    let most = usize::try_from(seconds).unwrap() + 8;
    assert!((3..=most).contains(&tries), "{tries} tries for {clients} clients in {seconds} s");
    postgres.execute("postgres", "CREATE DATABASE later").await;
    let mut client = connect().await.unwrap();
    assert_eq!(client.value("SELECT current_database()").await, "later");
}
