#!/bin/sh
# Sets up Vault or OpenBao for one Leasehold pool, with nothing but curl: the
# database engine, a connection, a role, a policy and an AppRole. May be run again.
#
# Who runs it:       VAULT_ADDR, VAULT_TOKEN; VAULT_NAMESPACE, VAULT_CACERT if needed
# Where PostgreSQL is, as Vault sees it:
#                    PGHOST, PGPORT, PGDATABASE, PGSSLMODE (verify-full)
# Vault's user there (database.sql makes it):
#                    DB_USER (vault), DB_PASSWORD
# What it is called: MOUNT (database), ROLE (app), APPROLE (leasehold)
# How long it lives: DEFAULT_TTL (1h), MAX_TTL (24h), TOKEN_TTL (2h), TOKEN_MAX_TTL (24h)
# Where role-id and secret-id are written (mode 0600):
#                    OUT (.)
set -eu
umask 077

here=$(cd "$(dirname "$0")" && pwd)
: "${VAULT_ADDR:?}" "${VAULT_TOKEN:?}" "${PGHOST:?}" "${PGDATABASE:?}" "${DB_PASSWORD:?}"
VAULT_ADDR=${VAULT_ADDR%/}
PGPORT=${PGPORT:-5432} PGSSLMODE=${PGSSLMODE:-verify-full} DB_USER=${DB_USER:-vault}
MOUNT=${MOUNT:-database} ROLE=${ROLE:-app} APPROLE=${APPROLE:-leasehold} OUT=${OUT:-.}
DEFAULT_TTL=${DEFAULT_TTL:-1h} MAX_TTL=${MAX_TTL:-24h}
# The token ends its leases: it must not live shorter than they do.
TOKEN_TTL=${TOKEN_TTL:-2h} TOKEN_MAX_TTL=${TOKEN_MAX_TTL:-24h}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# In a file, so that the token stands in no process list.
printf 'X-Vault-Token: %s\nX-Vault-Request: true\n' "$VAULT_TOKEN" > "$work/headers"
[ -z "${VAULT_NAMESPACE:-}" ] || printf 'X-Vault-Namespace: %s\n' "$VAULT_NAMESPACE" >> "$work/headers"

# call METHOD PATH < JSON: prints the answer.
call() {
  code=$(curl --silent --show-error ${VAULT_CACERT:+--cacert "$VAULT_CACERT"} --max-time 60 \
    --header "@$work/headers" --request "$1" --data-binary @- --output "$work/answer" \
    --write-out '%{http_code}' "$VAULT_ADDR/v1/$2") || return 1
  case $code in
    2??) cat "$work/answer" ;;
    *) echo "setup.sh: $1 $2: $code $(cat "$work/answer")" >&2; return 1 ;;
  esac
}

# A text as a JSON string; of SQL, without the lines that are comments.
string() { printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g' | tr '\n\t' '  ' | sed 's/^/"/; s/$/"/'; }
statements() { string "$(sed '/^[[:space:]]*--/d' "$here/$1")"; }
# The value of one string field of an answer.
field() { sed -n 's/.*"'"$1"'" *: *"\([^"]*\)".*/\1/p'; }

# 1. The database engine.
if ! call GET "sys/mounts/$MOUNT/tune" < /dev/null > /dev/null 2>&1; then
  echo '{"type": "database"}' | call POST "sys/mounts/$MOUNT"
fi

# 2. The connection. Vault hashes the passwords it makes, so that the server's log never holds one.
call POST "$MOUNT/config/$PGDATABASE" << JSON
{
  "plugin_name": "postgresql-database-plugin",
  "allowed_roles": $(string "$ROLE"),
  "connection_url": $(string "postgresql://{{username}}:{{password}}@$PGHOST:$PGPORT/$PGDATABASE?sslmode=$PGSSLMODE"),
  "username": $(string "$DB_USER"),
  "password": $(string "$DB_PASSWORD"),
  "password_authentication": "scram-sha-256"
}
JSON

# 3. The role: what a user is, and how long it lives.
call POST "$MOUNT/roles/$ROLE" << JSON
{
  "db_name": $(string "$PGDATABASE"),
  "creation_statements": [$(statements creation.sql)],
  "renew_statements": [$(statements renew.sql)],
  "revocation_statements": [$(statements revocation.sql)],
  "default_ttl": $(string "$DEFAULT_TTL"),
  "max_ttl": $(string "$MAX_TTL")
}
JSON

# 4. The policy.
policy=$(sed "s|\"database/creds/app\"|\"$MOUNT/creds/$ROLE\"|" "$here/policy.hcl" | sed '/^[[:space:]]*#/d')
echo "{\"policy\": $(string "$policy")}" | call PUT "sys/policies/acl/$APPROLE"

# 5. The login.
if ! call GET "sys/auth/approle/tune" < /dev/null > /dev/null 2>&1; then
  echo '{"type": "approle"}' | call POST "sys/auth/approle"
fi
call POST "auth/approle/role/$APPROLE" << JSON
{
  "token_policies": [$(string "$APPROLE")],
  "token_ttl": $(string "$TOKEN_TTL"),
  "token_max_ttl": $(string "$TOKEN_MAX_TTL"),
  "secret_id_num_uses": 0,
  "secret_id_ttl": "0"
}
JSON

# 6. What Leasehold logs in with.
call GET "auth/approle/role/$APPROLE/role-id" < /dev/null | field role_id > "$OUT/role-id"
echo '{}' | call POST "auth/approle/role/$APPROLE/secret-id" | field secret_id > "$OUT/secret-id"
[ -s "$OUT/role-id" ] && [ -s "$OUT/secret-id" ]
echo "role-id and secret-id are in $OUT; credentials.path is $MOUNT/creds/$ROLE"
