//! Users with every kind of name that Vault can make and PostgreSQL keeps.

use reqwest::Method;
use serde_json::json;

use crate::journal::{Journal, say};
use crate::load::session_user;
use crate::or_skip;
use crate::site::{PATIENCE, Site};
use crate::support::{Leasehold, wait_until};

/// A `username_template` behind `v-` and 20 random characters, and how many bytes PostgreSQL keeps of what it makes.
const NAMES: [(&str, usize); 4] = [
    (" It's {{.RoleName}} C:\\Temp", 44),
    ("-{{.RoleName}}-of-a-team-with-a-very-long-name-in-a-company-with-a-longer-one", 63),
    // The 63rd byte is the first of two.
    ("-É-ÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉÉ", 62),
    // It is the last of three.
    ("--10 €€€€€€€€€€€€ for {{.RoleName}}", 63),
];

async fn console(proxy: &Leasehold, sql: &str) -> Vec<String> {
    let console = proxy.endpoint("leasehold").connect().await;
    let messages = console.simple_query(sql).await.unwrap();
    let row = |message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => {
            row.try_get("user").ok().flatten().map(ToOwned::to_owned)
        }
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

/// The proxy's own connection as this user has asked pg_roles, and asked again.
async fn wait_for_surveys(site: &Site, user: &str) {
    let admin = site.postgres.connect().await;
    let last = "SELECT max(query_start)::text FROM pg_stat_activity \
                WHERE usename = $1 AND query LIKE '%pg_roles%' AND state = 'idle'";
    let asked = async || admin.query_one(last, &[&user]).await.unwrap().get::<_, Option<String>>(0);
    let mut seen = std::collections::BTreeSet::new();
    let often = async || {
        seen.extend(asked().await);
        seen.len() > 2
    };
    assert!(wait_until(PATIENCE, often).await, "{user:?} never asked pg_roles");
}

#[tokio::test]
async fn any_name_that_postgresql_keeps_serves_rotates_is_watched_and_removed() {
    let site = or_skip!(Site::bare("10m", "1h").await);
    for (template, length) in NAMES {
        let body = json!({
            "plugin_name": "postgresql-database-plugin",
            "username_template": format!("v-{{{{random 20}}}}{template}"),
        });
        site.vault.root(Method::POST, "database/config/app", body).await;
        let mut proxy = site.run("", "").await;
        let place = proxy.endpoint("app");
        let user = session_user(&place.connect().await).await.unwrap();
        assert_eq!(user.len(), length, "{user}");
        assert!(site.users().await.contains(&user) && site.connections(&user).await > 0);
        assert!(console(&proxy, "SHOW GENERATIONS").await.contains(&user), "{}", proxy.log_text());

        // The watch looks for it and finds it, until the next one takes over.
        wait_for_surveys(&site, &user).await;
        console(&proxy, "ROTATE").await;
        proxy.active_from(2).await;
        let gone = async || !site.users().await.contains(&user);
        assert!(wait_until(PATIENCE, gone).await, "{}", proxy.log_text());
        proxy.assert_never(&["the user was removed by somebody else"]);

        let next = session_user(&place.connect().await).await.unwrap();
        site.vault.revoke_prefix("database/creds/app-role").await;
        let told = "the user was removed by somebody else";
        let told = proxy.step(told, PATIENCE, |step| step.user == next).await;
        let served = async || {
            let client = place.try_connect().await.ok()?;
            session_user(&client).await.ok().filter(|user| *user != next)
        };
        assert!(wait_until(PATIENCE, async || served().await.is_some()).await, "{}", proxy.log_text());
        site.close(&mut proxy).await;
        say(format_args!("{user}: the next one found gone as generation {}", told.generation));
    }
}
