//! What `leasehold check` says of `credentials`.

use std::time::Duration;

use super::report::{Report, span};
use crate::credentials::{CredentialsSettings, LocalSettings, RenewPolicy, RotationSettings, SourceSettings};

/// The credentials of one database.
pub(super) fn own_or_shared(
    report: &mut Report<'_>,
    credentials: &CredentialsSettings,
    at: &dyn Fn(&str) -> String,
) {
    match &credentials.name {
        None => source(report, &credentials.source, &|key| at(&format!("credentials.{key}"))),
        Some(name) => report.item(
            &at("credentials"),
            name,
            format!("Its users are those of [credentials.{name}], shared with all databases that name it."),
        ),
    }
}

/// The credentials that have a name, each once.
pub(super) fn shared(report: &mut Report<'_>) {
    let mut told: Vec<&str> = Vec::new();
    let loaded = report.loaded;
    for (_, credentials) in &loaded.settings.databases {
        let Some(name) = credentials.name.as_deref().filter(|name| !told.contains(name)) else { continue };
        told.push(name);
        let path = format!("credentials.{name}");
        report.heading(&path);
        source(report, &credentials.source, &|key| format!("{path}.{key}"));
    }
}

fn source(report: &mut Report<'_>, source: &SourceSettings, at: &dyn Fn(&str) -> String) {
    let rotation = &report.loaded.settings.rotation;
    match source {
        SourceSettings::Vault { path } => {
            let (early, late) = bounds(rotation);
            report.item(&at("source"), "vault", "Users and passwords come from Vault and stay in memory.");
            report.item(
                &at("path"),
                path,
                format!(
                    "Each user is read from {path}. Vault's role and token say how long it lives; \
                     it is replaced after {:.0} % to {:.0} % of that.",
                    early * 100.0,
                    late * 100.0
                ),
            );
        }
        SourceSettings::Local(local) => explain_local(report, local, at),
    }
}

fn explain_local(report: &mut Report<'_>, local: &LocalSettings, at: &dyn Fn(&str) -> String) {
    let rotation = &report.loaded.settings.rotation;
    let middle = span(part(local.default_ttl, rotation.at));
    let (early, late) = bounds(rotation);
    report.item(&at("source"), "local", "Leasehold issues and removes the users itself.");
    report.item(
        &at("admin_url_file"),
        local.admin_url_file.display(),
        "The admin connection's URL is read from this file; never shown.",
    );
    report.item(&at("creation_statements"), count(&local.creation_statements), "Run for each new user.");
    let renew = if local.renew_statements.is_empty() {
        "ALTER ROLE … VALID UNTIL is run to extend a life."
    } else {
        "Run to extend a life."
    };
    report.item(&at("renew_statements"), count(&local.renew_statements), renew);
    let revoke = if local.revocation_statements.is_empty() {
        "Users are removed as Vault does by default."
    } else {
        "Run to remove a user."
    };
    report.item(&at("revocation_statements"), count(&local.revocation_statements), revoke);
    let life = span(local.default_ttl);
    report.item(
        &at("default_ttl"),
        &life,
        format!(
            "Users live {life}, replaced after about {middle} ({} to {}).",
            span(part(local.default_ttl, early)),
            span(part(local.default_ttl, late))
        ),
    );
    let most = span(local.max_ttl);
    report.item(
        &at("max_ttl"),
        &most,
        match rotation.renew {
            RenewPolicy::WhileDraining => {
                format!("A user whose connections are still busy is renewed, up to {most} after it was made.")
            }
            RenewPolicy::UntilMax => format!("Users are renewed, up to {most} after they were made."),
            RenewPolicy::Never => "Users are not renewed (rotation.renew).".to_owned(),
        },
    );
}

/// The earliest and latest moment of the rotation, as parts of the life.
pub(super) fn bounds(rotation: &RotationSettings) -> (f64, f64) {
    (rotation.at - rotation.jitter / 2.0, rotation.at + rotation.jitter / 2.0)
}

fn part(life: Duration, part: f64) -> Duration {
    Duration::try_from_secs_f64(life.as_secs_f64() * part).unwrap_or(life)
}

fn count(statements: &[String]) -> String {
    match statements.len() {
        0 => "default".to_owned(),
        1 => "1 statement".to_owned(),
        n => format!("{n} statements"),
    }
}
