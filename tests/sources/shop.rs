//! A database `app` and a Vault that was set up by the files in config/vault.

use std::path::PathBuf;
use std::time::Duration;

use leasehold::credentials::{Issued, LoginPace, SourceError, VaultAuth, VaultSettings, VaultSource};
use tempfile::TempDir;

use crate::support::{Missing, Postgres, Vault, VaultOptions, wait_until};

pub const PATH: &str = "database/creds/app";

/// Both servers, and what Leasehold logs in with.
pub struct Shop {
    pub postgres: Postgres,
    pub vault: Vault,
    pub role_id: String,
    directory: TempDir,
}

/// A cluster with config/vault/database.sql run in database `app`, and a table of the group's.
pub async fn database() -> Result<Postgres, Missing> {
    let postgres = Postgres::start().await?;
    postgres.execute("postgres", "CREATE DATABASE app").await;
    let file = format!("{}/config/vault/database.sql", env!("CARGO_MANIFEST_DIR"));
    let app = postgres.admin().database("app");
    for _ in 0..2 {
        app.run("psql", &["-X", "-q", "-v", "vault_password=it's a secret", "-f", &file]).await.success();
    }
    postgres.execute("app", "CREATE TABLE stock (n int); GRANT ALL ON stock TO app").await;
    Ok(postgres)
}

impl Shop {
    /// As an operator would set it up, with these lives.
    pub async fn open(lives: &[(&str, &str)]) -> Result<Self, Missing> {
        Self::open_with(lives, VaultOptions::default()).await
    }

    pub async fn open_with(lives: &[(&str, &str)], options: VaultOptions) -> Result<Self, Missing> {
        let vault = Vault::start_with(options).await?;
        let postgres = database().await?;
        let directory = tempfile::tempdir().unwrap();
        let mut env = vec![
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", postgres.port().to_string()),
            ("PGDATABASE", "app".to_owned()),
            ("PGSSLMODE", "disable".to_owned()),
            ("DB_PASSWORD", "it's a secret".to_owned()),
            ("OUT", directory.path().display().to_string()),
        ];
        env.extend(lives.iter().map(|(name, value)| (*name, (*value).to_owned())));
        for _ in 0..2 {
            vault.run_setup_script("config/vault/setup.sh", &env).await;
        }
        let role_id = std::fs::read_to_string(directory.path().join("role-id")).unwrap().trim().to_owned();
        Ok(Self { postgres, vault, role_id, directory })
    }

    pub fn secret_id_file(&self) -> PathBuf {
        self.directory.path().join("secret-id")
    }

    pub fn approle(&self) -> VaultSettings {
        settings(
            &self.vault.address(),
            VaultAuth::AppRole {
                mount: "approle".into(),
                role_id: self.role_id.clone(),
                secret_id_file: Some(self.secret_id_file()),
                secret_id: None,
                wrapped: false,
            },
        )
    }

    pub fn source(&self) -> VaultSource {
        VaultSource::new(self.approle(), PATH.into()).unwrap()
    }

    /// A token with these policies and fields.
    pub async fn token(&self, fields: serde_json::Value) -> String {
        let answer = self.vault.root(reqwest::Method::POST, "auth/token/create", fields).await;
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    pub async fn users(&self) -> Vec<String> {
        self.postgres.roles_like("v-%").await
    }

    /// How many tokens live.
    pub async fn tokens(&self) -> usize {
        let list = reqwest::Method::from_bytes(b"LIST").unwrap();
        let answer = self.vault.root(list, "auth/token/accessors", serde_json::Value::Null).await;
        answer["data"]["keys"].as_array().unwrap().len()
    }

    pub async fn no_user_remains(&self) -> bool {
        wait_until(Duration::from_secs(60), async || self.users().await.is_empty()).await
    }

    pub async fn can_use(&self, issued: &Issued) -> bool {
        can_use(&self.postgres, issued).await
    }
}

/// Logs in as the user and reads the group's table.
pub async fn can_use(postgres: &Postgres, issued: &Issued) -> bool {
    let place =
        postgres.admin().database("app").user(&issued.login.user, Some(issued.login.password.expose()));
    match place.try_connect().await {
        Ok(client) => client.batch_execute("SET ROLE app; SELECT n FROM stock").await.is_ok(),
        Err(_) => false,
    }
}

pub fn settings(address: &str, auth: VaultAuth) -> VaultSettings {
    VaultSettings {
        address: address.into(),
        namespace: String::new(),
        ca_file: None,
        ca_path: None,
        ca_bytes: None,
        client_cert: None,
        client_key: None,
        tls_server_name: None,
        skip_verify: false,
        timeout: Duration::from_secs(10),
        auth,
        pace: LoginPace::default(),
    }
}

pub fn token_auth(token: &str) -> VaultAuth {
    VaultAuth::Token { token: token.to_owned().into() }
}

#[track_caller]
pub fn denied<T>(result: Result<T, SourceError>) -> String {
    match result {
        Err(SourceError::Denied { message }) => message,
        Err(other) => panic!("not Denied: {other:?}"),
        Ok(_) => panic!("not Denied: a success"),
    }
}

#[track_caller]
pub fn misconfigured<T>(result: Result<T, SourceError>) -> String {
    match result {
        Err(SourceError::Misconfigured { message }) => message,
        Err(other) => panic!("not Misconfigured: {other:?}"),
        Ok(_) => panic!("not Misconfigured: a success"),
    }
}

#[track_caller]
pub fn unavailable<T>(result: Result<T, SourceError>) -> String {
    match result {
        Err(SourceError::Unavailable { message, .. }) => message,
        Err(other) => panic!("not Unavailable: {other:?}"),
        Ok(_) => panic!("not Unavailable: a success"),
    }
}

#[track_caller]
pub fn gone<T>(result: Result<T, SourceError>) -> String {
    match result {
        Err(SourceError::Gone { message }) => message,
        Err(other) => panic!("not Gone: {other:?}"),
        Ok(_) => panic!("not Gone: a success"),
    }
}
