//! A Vault (or OpenBao) of the test's own: a real server on a file store.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::ports::Port;
use super::postgres::{PASSWORD, Postgres};
use super::program::{Finished, Program, Signal, on_path};
use super::skip::Missing;
use super::tls::CertFiles;
use super::wait::wait_for;

/// Long enough for a loaded machine; only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cold build of the server with Go takes minutes.
const BUILD_PATIENCE: Duration = Duration::from_secs(30 * 60);

const MISSING: &str =
    "no Vault here: install go (the server is then built), vault or bao, or set LEASEHOLD_TEST_VAULT";

/// What a server may differ in.
#[derive(Debug, Clone, Default)]
pub struct VaultOptions {
    /// The server's certificate and key, and the CA file that its clients trust.
    pub tls: Option<(CertFiles, PathBuf)>,
}

/// A running (or stopped) server, initialised with one key share.
pub struct Vault {
    binary: Binary,
    process: Option<Program>,
    port: Port,
    directory: TempDir,
    tls: Option<(CertFiles, PathBuf)>,
    http: Client,
    key: String,
    root_token: String,
}

/// Two ways to run a server.
#[derive(Debug, Clone)]
enum Binary {
    /// `vault` or `bao`: `server -config FILE`.
    Official(PathBuf),
    /// tests/vault-server: `ADDRESS DIRECTORY [CERT KEY]`.
    Ours(PathBuf),
}

/// A role of the database secrets engine, and the connection it is for.
#[derive(Debug, Clone)]
pub struct DatabaseRole {
    pub name: String,
    /// The database that Vault's own connection uses.
    pub dbname: String,
    pub creation_statements: Vec<String>,
    /// Empty: Vault's default revocation.
    pub revocation_statements: Vec<String>,
    pub default_ttl: String,
    pub max_ttl: String,
}

impl Default for DatabaseRole {
    /// The barest role there is.
    fn default() -> Self {
        Self {
            name: "app-role".to_owned(),
            dbname: "postgres".to_owned(),
            creation_statements: vec![
                r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"#
                    .to_owned(),
            ],
            revocation_statements: Vec::new(),
            default_ttl: "1h".to_owned(),
            max_ttl: "24h".to_owned(),
        }
    }
}

/// An AppRole login.
#[derive(Debug, Clone)]
pub struct AppRole {
    pub role_id: String,
    pub secret_id: String,
}

impl Vault {
    /// A server on a free port, initialised and unsealed.
    pub async fn start() -> Result<Self, Missing> {
        Self::start_with(VaultOptions::default()).await
    }

    /// As [`Vault::start`], with its own settings.
    pub async fn start_with(options: VaultOptions) -> Result<Self, Missing> {
        let binary = find_binary().await?;
        let directory = tempfile::Builder::new().prefix("leasehold-vault-").tempdir().unwrap();
        let http = http_client(options.tls.as_ref().map(|(_, ca)| ca.as_path()));
        let mut vault = Self {
            binary,
            process: None,
            port: Port::claim(),
            directory,
            tls: options.tls,
            http,
            key: String::new(),
            root_token: String::new(),
        };
        // The port is ours among tests; some other program may still take it first.
        for _ in 0..3 {
            match vault.try_launch().await {
                Ok(()) => {
                    vault.initialise().await;
                    return Ok(vault);
                }
                Err(log) if log.contains("address already in use") => vault.port = Port::claim(),
                Err(log) => panic!("Vault did not start:\n{log}"),
            }
        }
        panic!("Vault found no free port three times");
    }

    /// `http://127.0.0.1:PORT`, or https.
    pub fn address(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port.number())
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub fn root_token(&self) -> &str {
        &self.root_token
    }

    /// Whether the process runs.
    pub fn running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// Kills the server, as a crash would.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end_now(Signal::KILL, PATIENCE);
        }
    }

    /// Starts it again on the same store and port: it comes up sealed.
    pub async fn start_again(&mut self) {
        if let Err(log) = self.try_launch().await {
            panic!("Vault did not start again:\n{log}");
        }
    }

    /// Stops the process where it stands (SIGSTOP): calls hang until [`Vault::thaw`].
    pub fn freeze(&mut self) {
        self.process.as_mut().expect("Vault does not run").signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&mut self) {
        self.process.as_mut().expect("Vault does not run").signal(Signal::CONT);
    }

    /// Opens it, and waits until it is active again.
    pub async fn unseal(&self) {
        let (status, body) =
            self.request(Method::PUT, "sys/unseal", Some(json!({ "key": self.key })), None).await;
        assert_eq!(status, 200, "{body}");
        let active = wait_for(PATIENCE, async || {
            let (status, _) = self.try_request(Method::GET, "sys/health", None, None).await.ok()?;
            (status == 200).then_some(())
        })
        .await;
        assert!(active.is_some(), "Vault did not become active:\n{}", self.log());
    }

    /// Seals it: every call is 503 until [`Vault::unseal`].
    pub async fn seal(&self) {
        self.root(Method::PUT, "sys/seal", json!({})).await;
    }

    /// What the server has logged since its last start.
    pub fn log(&self) -> String {
        self.process.as_ref().map(|p| p.stdout() + &p.stderr()).unwrap_or_default()
    }

    /// One call; `path` without `/v1/`. The body is null where there is none.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        token: Option<&str>,
    ) -> (u16, Value) {
        self.try_request(method, path, body, token)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error:?}\n{}", self.log()))
    }

    /// As [`Vault::request`], for a server that may not answer.
    pub async fn try_request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        token: Option<&str>,
    ) -> Result<(u16, Value), reqwest::Error> {
        let mut request = self.http.request(method, format!("{}/v1/{path}", self.address()));
        if let Some(token) = token {
            request = request.header("X-Vault-Token", token);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// A call with the root token that must succeed.
    pub async fn root(&self, method: Method, path: &str, body: Value) -> Value {
        let body = if body.is_null() { None } else { Some(body) };
        let (status, answer) = self.request(method, path, body, Some(&self.root_token)).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}\n{}", self.log());
        answer
    }

    /// As [`Vault::root`], with the answer wrapped: the wrapping token.
    pub async fn wrapped(&self, path: &str, body: Value) -> String {
        let request = self.http.post(format!("{}/v1/{path}", self.address()));
        let request = request.header("X-Vault-Token", &self.root_token).header("X-Vault-Wrap-TTL", "300s");
        let text = request.body(body.to_string()).send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        answer["wrap_info"]["token"].as_str().unwrap().to_owned()
    }

    /// Mounts the database engine at `database/` (if that is not done yet), with the
    /// cluster's superuser as Vault's admin of `role.dbname`, and writes the role.
    pub async fn setup_database(&self, postgres: &Postgres, role: &DatabaseRole) {
        let mount = json!({ "type": "database" });
        let token = Some(self.root_token.as_str());
        let (status, body) = self.request(Method::POST, "sys/mounts/database", Some(mount), token).await;
        assert!(status < 300 || body.to_string().contains("already in use"), "{body}");
        let url = format!(
            "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/{}?sslmode=disable",
            postgres.port(),
            role.dbname
        );
        let connection = json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": url,
            "username": "postgres",
            "password": PASSWORD,
        });
        self.root(Method::POST, &format!("database/config/{}", role.dbname), connection).await;
        let body = json!({
            "db_name": role.dbname,
            "creation_statements": role.creation_statements,
            "revocation_statements": role.revocation_statements,
            "default_ttl": role.default_ttl,
            "max_ttl": role.max_ttl,
        });
        self.root(Method::POST, &format!("database/roles/{}", role.name), body).await;
    }

    /// An AppRole named `name` that may read `path`, with further fields of the role
    /// (`token_ttl`, `token_max_ttl`, `secret_id_num_uses`, …) as JSON.
    pub async fn setup_approle(&self, name: &str, path: &str, fields: Value) -> AppRole {
        let token = Some(self.root_token.as_str());
        let login = json!({ "type": "approle" });
        let (status, body) = self.request(Method::POST, "sys/auth/approle", Some(login), token).await;
        assert!(status < 300 || body.to_string().contains("already in use"), "{body}");
        let policy = format!("path \"{path}\" {{ capabilities = [\"read\"] }}");
        self.root(Method::PUT, &format!("sys/policies/acl/{name}"), json!({ "policy": policy })).await;
        let mut role = json!({ "token_policies": name });
        for (key, value) in fields.as_object().into_iter().flatten() {
            role[key] = value.clone();
        }
        let role_path = format!("auth/approle/role/{name}");
        self.root(Method::POST, &role_path, role).await;
        let role_id = self.root(Method::GET, &format!("{role_path}/role-id"), Value::Null).await;
        let secret_id = self.root(Method::POST, &format!("{role_path}/secret-id"), json!({})).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        AppRole {
            role_id: text(&role_id["data"]["role_id"]),
            secret_id: text(&secret_id["data"]["secret_id"]),
        }
    }

    /// Ids of the leases that live under `path` (`database/creds/app-role`).
    pub async fn leases(&self, path: &str) -> Vec<String> {
        let list = Method::from_bytes(b"LIST").unwrap();
        let path = format!("sys/leases/lookup/{path}/");
        let (status, body) = self.request(list, &path, None, Some(&self.root_token)).await;
        assert!(status == 200 || status == 404, "{status} {body}");
        let keys = body["data"]["keys"].as_array().cloned().unwrap_or_default();
        keys.iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    }

    /// `sys/leases/revoke-prefix`: what an operator does in an emergency.
    pub async fn revoke_prefix(&self, path: &str) {
        self.root(Method::PUT, &format!("sys/leases/revoke-prefix/{path}"), json!({})).await;
    }

    /// Runs `config/vault/setup.sh` (or another script of the repository) with VAULT_ADDR,
    /// VAULT_TOKEN (root), VAULT_CACERT and these variables; it must succeed.
    pub async fn run_setup_script(&self, script: &str, env: &[(&str, String)]) -> Finished {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
        let mut command = Command::new("sh");
        command.arg(&script).env("VAULT_ADDR", self.address()).env("VAULT_TOKEN", &self.root_token);
        if let Some((_, ca)) = &self.tls {
            command.env("VAULT_CACERT", ca);
        }
        command.envs(env.iter().map(|(name, value)| (name, value.as_str())));
        let finished = Program::run(command, PATIENCE).await;
        assert!(finished.status.success(), "{}: {finished:?}", script.display());
        finished
    }

    async fn initialise(&mut self) {
        let shares = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let (status, body) = self.request(Method::PUT, "sys/init", Some(shares), None).await;
        assert_eq!(status, 200, "{body}");
        self.key = body["keys"][0].as_str().unwrap().to_owned();
        self.root_token = body["root_token"].as_str().unwrap().to_owned();
        self.unseal().await;
    }

    /// Starts the process and waits until it answers; its log, if it ends instead.
    async fn try_launch(&mut self) -> Result<(), String> {
        assert!(self.process.is_none(), "Vault runs already");
        let mut process = Program::start(self.command());
        let settled = wait_for(PATIENCE, async || {
            if process.ended().is_some() {
                return Some(false);
            }
            // Any answer will do: sealed and uninitialised ones are errors by status.
            self.try_request(Method::GET, "sys/seal-status", None, None).await.ok().map(|_| true)
        })
        .await;
        if settled != Some(true) || process.ended().is_some() {
            return Err(process.stdout() + &process.stderr());
        }
        self.process = Some(process);
        Ok(())
    }

    fn command(&self) -> Command {
        let store = self.directory.path().join("store");
        let address = format!("127.0.0.1:{}", self.port.number());
        match &self.binary {
            Binary::Ours(program) => {
                let mut command = Command::new(program);
                command.arg(address).arg(store);
                if let Some((tls, _)) = &self.tls {
                    command.arg(&tls.cert).arg(&tls.key);
                }
                command
            }
            Binary::Official(program) => {
                let listener = match &self.tls {
                    Some((tls, _)) => {
                        format!("tls_cert_file = {:?}\n  tls_key_file = {:?}", tls.cert, tls.key)
                    }
                    None => "tls_disable = true".to_owned(),
                };
                let hcl = format!(
                    "storage \"file\" {{\n  path = {store:?}\n}}\n\
                     listener \"tcp\" {{\n  address = {address:?}\n  {listener}\n}}\n\
                     disable_mlock = true\napi_addr = {:?}\n",
                    self.address()
                );
                let file = self.directory.path().join("vault.hcl");
                std::fs::write(&file, hcl).unwrap();
                let mut command = Command::new(program);
                command.arg("server").arg("-config").arg(file);
                command
            }
        }
    }
}

/// In order: LEASEHOLD_TEST_VAULT, `vault` or `bao` on PATH, our program, built if Go is here.
async fn find_binary() -> Result<Binary, Missing> {
    if let Some(set) = std::env::var_os("LEASEHOLD_TEST_VAULT").filter(|set| !set.is_empty()) {
        let set = PathBuf::from(set);
        assert!(set.is_file(), "LEASEHOLD_TEST_VAULT={} is no file", set.display());
        return Ok(if is_official(&set) { Binary::Official(set) } else { Binary::Ours(set) });
    }
    if let Some(official) = on_path("vault").or_else(|| on_path("bao")) {
        return Ok(Binary::Official(official));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let ours = root.join(target).join("vault-server/vault-server");
    if !ours.is_file() {
        if on_path("go").is_none() {
            return Err(Missing(MISSING.to_owned()));
        }
        // The script has a lock of its own: of several tests, one builds and the others wait.
        let build = Command::new(root.join("scripts/build-vault-server"));
        let finished = Program::run(build, BUILD_PATIENCE).await;
        if !finished.status.success() {
            return Err(Missing(format!("the Vault for the tests did not build: {}", finished.stderr)));
        }
    }
    Ok(Binary::Ours(ours))
}

/// Both official servers answer `version`; ours does not know it.
fn is_official(binary: &Path) -> bool {
    let output = Command::new(binary).arg("version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.starts_with("Vault v") || text.starts_with("OpenBao v")
}

/// No proxies, no redirects, a time limit, and only the given CA where there is one.
fn http_client(ca: Option<&Path>) -> Client {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in ca.into_iter().flat_map(|file| CertificateDer::pem_file_iter(file).unwrap()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}
