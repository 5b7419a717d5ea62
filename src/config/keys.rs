//! Every key there is: the one list that the checks, the sample file and the manual are held to.

/// One key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The path; `NAME` stands for a database's name, or for that of credentials.
    pub path: &'static str,
    /// What a value looks like.
    pub form: &'static str,
    /// The value it has when nobody sets it; empty: it must be set, or is absent.
    pub default: &'static str,
    /// What it does, in one sentence.
    pub meaning: &'static str,
    /// Secrets are refused in the file and taken from the environment only.
    pub secret: bool,
}

const fn key(path: &'static str, form: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { path, form, default, meaning, secret: false }
}

const fn secret(path: &'static str, meaning: &'static str) -> Key {
    Key { path, form: "environment only", default: "", meaning, secret: true }
}

/// Every key, in the order of the manual.
pub const KEYS: &[Key] = &[
    key(
        "threads",
        "number",
        "cores, at most 4",
        "The most data threads; each owns a share of the clients and of every pool.",
    ),
    key(
        "thread_busy",
        "number",
        "70",
        "Percent of a core at which a data thread is busy, and clients go to the next one, and back once \
         fewer threads would do; 0: clients are spread evenly from the start.",
    ),
    key(
        "shutdown_timeout",
        "duration",
        "25s",
        "How long transactions may take to end after SIGTERM, revocation of the users included.",
    ),
    key(
        "state_dir",
        "directory",
        "STATE_DIRECTORY",
        "Where what must outlive the program is kept: how often Vault refused a login. Else \
         `leasehold` in XDG_STATE_HOME or `~/.local/state`; an empty string: nowhere.",
    ),
    key(
        "listen.tcp",
        "address:port",
        "127.0.0.1:6432",
        "Loopback address for clients; an empty string: no TCP listener.",
    ),
    key(
        "listen.unix_dir",
        "directory",
        "",
        "Directory for the Unix socket `.s.PGSQL.PORT`; absent: no Unix listener.",
    ),
    key("listen.unix_mode", "octal string", "0600", "Permission bits of the Unix socket."),
    key("listen.max_clients", "number", "10000", "More clients than this are refused with 53300."),
    key("listen.startup_timeout", "duration", "10s", "How long a new client may take to say who it is."),
    key(
        "listen.max_prepared_bytes",
        "size",
        "256MiB",
        "How much text of prepared statements all clients of transaction mode may have; one client a sixteenth.",
    ),
    key("http.listen", "address:port", "", "Address for probes and status over HTTP; absent: no HTTP."),
    key(
        "console.admin_uids",
        "list",
        "root and our own",
        "Users of this host, by number or name, who may give commands at the console by the Unix socket.",
    ),
    key(
        "console.tcp_commands",
        "true | false",
        "false",
        "Whether everybody who reaches the console over TCP may give commands; SHOW is always allowed.",
    ),
    key(
        "console.stats_period",
        "duration",
        "60s",
        "Averages in SHOW STATS are those of the latest period of this length that is complete; at least 1s.",
    ),
    key("vault.address", "URL", "VAULT_ADDR", "Where Vault or OpenBao answers."),
    key("vault.namespace", "text", "VAULT_NAMESPACE", "Namespace of every request; empty: none."),
    key("vault.ca_file", "file", "VAULT_CACERT", "CA certificates (PEM) trusted instead of the system's."),
    key("vault.client_cert", "file", "VAULT_CLIENT_CERT", "Client certificate (PEM) shown to Vault."),
    key("vault.client_key", "file", "VAULT_CLIENT_KEY", "Key (PEM) of `client_cert`."),
    key(
        "vault.tls_server_name",
        "name",
        "VAULT_TLS_SERVER_NAME",
        "Name to verify in Vault's certificate instead of the address's host.",
    ),
    key("vault.timeout", "duration", "15s", "Bound of one call to Vault; also VAULT_CLIENT_TIMEOUT."),
    key(
        "vault.auth.method",
        "token | token_file | approle | kubernetes | jwt | userpass | cert | aws | gcp | azure | ldap",
        "token",
        "How to log in at Vault.",
    ),
    key(
        "vault.auth.token_file",
        "file",
        "",
        "File with the token, an Agent's sink for example, followed as it changes (`token_file`, `token`); \
         else VAULT_TOKEN, else `~/.vault-token`.",
    ),
    secret("vault.auth.token", "The token (`token`)."),
    key("vault.auth.mount", "path", "the method's name", "Where the method is mounted below `auth/`."),
    key("vault.auth.role_id", "text", "", "The role id (`approle`)."),
    key(
        "vault.auth.secret_id_file",
        "file",
        "",
        "File with the secret id, read anew at each login (`approle`).",
    ),
    secret("vault.auth.secret_id", "The secret id (`approle`)."),
    key(
        "vault.auth.secret_id_wrapped",
        "true | false",
        "false",
        "Whether what is given is a wrapping token that the secret id is taken out of, once (`approle`).",
    ),
    key("vault.auth.role", "text", "", "The role at Vault (`kubernetes`, `jwt`, `aws`, `gcp`, `azure`)."),
    key(
        "vault.auth.jwt_file",
        "file",
        "the service account's",
        "File with the signed token, read anew at each login (`kubernetes`, `jwt`).",
    ),
    key("vault.auth.username", "text", "", "The user name (`userpass`, `ldap`)."),
    key(
        "vault.auth.password_file",
        "file",
        "",
        "File with the password, read anew at each login (`userpass`, `ldap`).",
    ),
    secret("vault.auth.password", "The password (`userpass`, `ldap`)."),
    key(
        "vault.auth.region",
        "text",
        "us-east-1",
        "The region whose STS Vault asks who signed the login (`aws`).",
    ),
    key(
        "vault.auth.server_id",
        "text",
        "",
        "What Vault wants in the signed header X-Vault-AWS-IAM-Server-ID (`aws`).",
    ),
    key(
        "vault.auth.resource",
        "text",
        "https://management.azure.com/",
        "What the machine's token is for, as `resource` at Vault (`azure`).",
    ),
    key(
        "vault.auth.client_id",
        "text",
        "",
        "Which managed identity, where the machine has several (`azure`).",
    ),
    key("vault.auth.name", "text", "", "The role that `client_cert` is to match (`cert`); without it any."),
    key(
        "databases.NAME.host",
        "name, address or directory, or a list",
        "",
        "The PostgreSQL server, or several of which the first that fits is taken; a directory means a Unix socket.",
    ),
    key("databases.NAME.port", "number or list", "5432", "The port of all servers, or one for each."),
    key(
        "databases.NAME.target_session_attrs",
        "any | read-write | read-only | primary | standby | prefer-standby",
        "any",
        "Which of the servers fits, in libpq's words.",
    ),
    key("databases.NAME.dbname", "text", "NAME", "The database's name on the server."),
    key(
        "databases.NAME.sslmode",
        "disable | prefer | require | verify-ca | verify-full",
        "prefer",
        "How much TLS, in libpq's words.",
    ),
    key(
        "databases.NAME.sslrootcert",
        "file or \"system\"",
        "system",
        "The CAs that verify-ca and verify-full trust; with a file, require is verify-ca.",
    ),
    key(
        "databases.NAME.role",
        "text",
        "",
        "The role every connection takes on: what current_user is and who owns new objects.",
    ),
    key(
        "databases.NAME.pool_mode",
        "transaction | session",
        "transaction",
        "When a client gives its server connection back.",
    ),
    key("databases.NAME.pool_size", "number", "20", "The most connections of the active user."),
    key(
        "databases.NAME.max_server_connections",
        "number",
        "2 × (pool_size + reserve_pool_size)",
        "The most connections of all users together, old and new.",
    ),
    key(
        "databases.NAME.min_pool_size",
        "number",
        "0",
        "So many connections of the active user are kept open, whether clients need them or not.",
    ),
    key(
        "databases.NAME.reserve_pool_size",
        "number",
        "0",
        "So many more than `pool_size` may be opened for clients that have waited for `reserve_pool_timeout`.",
    ),
    key(
        "databases.NAME.reserve_pool_timeout",
        "duration",
        "5s",
        "How long a client waits for a connection before one of the reserve is opened.",
    ),
    key(
        "databases.NAME.server_lifetime",
        "duration",
        "1h",
        "A connection of this age, or up to a tenth less, is closed once it is idle; 0s: it lives as long as its user.",
    ),
    key(
        "databases.NAME.server_idle_timeout",
        "duration",
        "10m",
        "A connection that was idle for so long is closed, down to `min_pool_size`; 0s: never.",
    ),
    key(
        "databases.NAME.query_timeout",
        "duration",
        "0s",
        "How long the server may work on what a client asked for; then it is cancelled, and the client's connection ends; 0s: for ever.",
    ),
    key(
        "databases.NAME.transaction_timeout",
        "duration",
        "0s",
        "How long a transaction may be open; then the client's connection ends; 0s: for ever.",
    ),
    key(
        "databases.NAME.idle_transaction_timeout",
        "duration",
        "0s",
        "How long a client may say nothing in a transaction; then its connection ends; 0s: for ever.",
    ),
    key(
        "databases.NAME.client_idle_timeout",
        "duration",
        "0s",
        "How long a client may say nothing outside a transaction; then its connection ends; 0s: for ever.",
    ),
    key(
        "databases.NAME.checkout_timeout",
        "duration",
        "30s",
        "How long a client waits for a free connection before it gets an error.",
    ),
    key(
        "databases.NAME.max_prepared_statements",
        "number",
        "200",
        "The most statements that one connection has prepared, in transaction mode; the least used goes first.",
    ),
    key(
        "databases.NAME.pin",
        "auto | never",
        "auto",
        "Whether a client of transaction mode with state that lives in one connection keeps it, or loses the state at the end of the transaction.",
    ),
    key(
        "databases.NAME.max_pinned",
        "number",
        "max_server_connections",
        "The most clients of transaction mode that keep a connection; one more is ended with 53300. At least 1.",
    ),
    key(
        "databases.NAME.connect_timeout",
        "duration",
        "10s",
        "Bound of name resolution, TCP, TLS and login together; of several hosts each has its share.",
    ),
    key(
        "databases.NAME.tcp_keepalive",
        "duration",
        "60s",
        "Idle time before TCP keepalive probes; 0s: the system's default.",
    ),
    key(
        "databases.NAME.tcp_user_timeout",
        "duration",
        "30s",
        "How long sent bytes may stay unacknowledged; 0s: the system's default.",
    ),
    key(
        "databases.NAME.credentials",
        "name or table",
        "",
        "Where its users come from: the name of a [credentials.NAME] that several databases share, or a table with the keys of one.",
    ),
    key("credentials.NAME.source", "vault | local", "", "Who issues the users."),
    key("credentials.NAME.path", "MOUNT/creds/ROLE", "", "The dynamic role at Vault (`vault`)."),
    key(
        "credentials.NAME.admin_url_file",
        "file",
        "",
        "File with the URL of the admin connection that issues users (`local`).",
    ),
    key(
        "credentials.NAME.creation_statements",
        "list of text",
        "",
        "SQL that makes a user, with {{name}}, {{password}}, {{expiration}}, {{role}} (`local`).",
    ),
    key(
        "credentials.NAME.renew_statements",
        "list of text",
        "ALTER ROLE … VALID UNTIL",
        "SQL that extends a user's life (`local`).",
    ),
    key(
        "credentials.NAME.revocation_statements",
        "list of text",
        "as Vault does",
        "SQL that removes a user (`local`).",
    ),
    key("credentials.NAME.default_ttl", "duration", "1h", "How long a user lives (`local`)."),
    key(
        "credentials.NAME.max_ttl",
        "duration",
        "24h",
        "The longest life of a user, renewals included (`local`).",
    ),
    key("rotation.at", "fraction", "0.7", "The part of a user's life after which the next one is issued."),
    key("rotation.jitter", "fraction", "0.1", "Spread of that moment, half to either side."),
    key(
        "rotation.renew",
        "while_draining | until_max | never",
        "while_draining",
        "Which users' leases are renewed: those that drain, also the one that serves, or none.",
    ),
    key(
        "rotation.drain_timeout",
        "duration",
        "24h",
        "How long a replaced user's busy connections may go on, within its lease.",
    ),
    key(
        "rotation.revoked_grace",
        "duration",
        "5s",
        "What busy connections of a user get that somebody else revoked.",
    ),
    key(
        "rotation.watch_interval",
        "duration",
        "1s",
        "How often pg_roles is asked whether the users are still there.",
    ),
    key(
        "rotation.outage_grace",
        "duration",
        "0s",
        "How long past its end a user may serve while its source cannot be reached.",
    ),
    key(
        "log.format",
        "auto | text | json",
        "auto",
        "Text or JSON; auto: text on a terminal, JSON otherwise.",
    ),
    key("log.filter", "filter", "info", "A level, or directives such as `info,leasehold::pool=debug`."),
    key(
        "log.most_alike",
        "number",
        "60",
        "Lines of one kind (the same words, the same database) a minute; what is more is counted and told \
         as a number; 0: no limit.",
    ),
    key(
        "log.slow_checkout",
        "duration",
        "1s",
        "A client that waited at least this long for a server connection is told of; 0s: never.",
    ),
    key(
        "log.audit",
        "true | false",
        "false",
        "One line each time that a client gives a server connection back: who ran as which user from when to \
         when.",
    ),
];

/// Keys that RELOAD and SIGHUP apply to the running process; others need a restart.
pub const LIVE: &[&str] = &[
    "listen.max_clients",
    "databases.NAME.pool_size",
    "databases.NAME.max_server_connections",
    "databases.NAME.min_pool_size",
    "databases.NAME.reserve_pool_size",
    "databases.NAME.reserve_pool_timeout",
    "databases.NAME.server_lifetime",
    "databases.NAME.server_idle_timeout",
    "databases.NAME.query_timeout",
    "databases.NAME.transaction_timeout",
    "databases.NAME.idle_transaction_timeout",
    "databases.NAME.client_idle_timeout",
    "databases.NAME.checkout_timeout",
    "databases.NAME.pin",
    "databases.NAME.max_pinned",
    "log.filter",
    "log.most_alike",
    "log.slow_checkout",
    "log.audit",
];
