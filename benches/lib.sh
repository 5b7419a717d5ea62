# shellcheck shell=bash
# What the benchmarks share; read with `.`, not run. A server, the proxies before it and how they are stopped,
# clocks and figures. Loopback only. All that is started here is stopped by its id, and the directory removed,
# on every way out. Functions that start something leave its id and port in variables named in their comment.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
leasehold=${BENCH_BINARY:-${CARGO_TARGET_DIR:-$root/target}/release/leasehold}
pgbin=${LEASEHOLD_TEST_PG_BIN:-$(for d in /usr/lib/postgresql/*/bin; do echo "$d"; done | sort -V | tail -n 1)}
# Clients and the two proxies speak TLS where they are told to, whatever the server offers.
export PGPASSWORD=bench PGSSLMODE=disable
dir='' pids=''
# The clients that the proxies let in; whether they speak TLS with the server.
client_limit=4000 tls=disable

die() { echo "$*" >&2; exit 1; }

# A program on PATH or in /usr/sbin, where Debian puts daemons and not everybody looks; nothing if it is not there.
find_program() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" || true; }

need() { # PROGRAM...
  local program
  for program in "$@"; do
    [ -x "$program" ] || die "$program is missing: cargo build --release; scripts/install-deps --bench"
  done
}

# The temporary directory ($dir), and the end of everything.
begin() {
  dir=$(mktemp -d "${TMPDIR:-/tmp}/leasehold-bench.XXXXXX")
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  if [ "$(id -u)" = 0 ]; then chown postgres "$dir"; fi
}
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
stop() { # PID, ours or a daemon's
  local _
  kill "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
  for _ in $(seq 50); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.1; done
  kill -9 "$1" 2>/dev/null || true
}
forget() { local pid rest=''; for pid in $pids; do [ "$pid" = "$1" ] || rest="$rest $pid"; done; pids=$rest; }
finish() {
  local pid
  trap '' INT TERM HUP
  for pid in $pids; do stop "$pid"; done
  [ ! -d "$dir/data" ] || as_postgres "$pgbin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$dir"
}

# $port: one of loopback that nobody listens on and that was not given before, below those that outgoing connections get.
given=' '
free_port() {
  local _
  for _ in $(seq 100); do
    port=$((20000 + RANDOM % 10000))
    case $given in *" $port "*) continue ;; esac
    given="$given$port "
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || return 0
  done
  die "no free port"
}

# A server on $pg_port whose superuser is postgres, password bench; more lines of its configuration come by stdin.
start_postgres() { # trust or scram-sha-256
  free_port
  pg_port=$port
  echo bench > "$dir/password"
  if [ "$(id -u)" = 0 ]; then chown postgres "$dir/password"; fi
  as_postgres "$pgbin/initdb" -D "$dir/data" -U postgres -A "$1" --pwfile "$dir/password" > "$dir/initdb.log" 2>&1 ||
    { cat "$dir/initdb.log" >&2; exit 1; }
  { printf "port = %s\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '%s'\nfsync = off\n" "$pg_port" "$dir"
    cat; } | as_postgres tee -a "$dir/data/postgresql.conf" >/dev/null
  as_postgres "$pgbin/pg_ctl" -D "$dir/data" -l "$dir/pg.log" -w start >/dev/null || { cat "$dir/pg.log" >&2; exit 1; }
  echo "postgresql://postgres:bench@127.0.0.1:$pg_port/bench" > "$dir/admin_url"
}
# Lines of the server's configuration by which it speaks TLS, with a certificate made here.
server_tls() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 \
    -keyout "$dir/server.key" -out "$dir/server.crt" > "$dir/openssl.log" 2>&1 || { cat "$dir/openssl.log" >&2; exit 1; }
  chmod 600 "$dir/server.key"
  if [ "$(id -u)" = 0 ]; then chown postgres "$dir/server.key"; fi
  printf "ssl = on\nssl_cert_file = '%s'\nssl_key_file = '%s'\n" "$dir/server.crt" "$dir/server.key"
}
sql() { "$pgbin/psql" -qAtX -h 127.0.0.1 -p "$pg_port" -U postgres -v ON_ERROR_STOP=1 "$@"; }

# The database bench, owned by the role app; with a scale also pgbench's tables.
make_database() { # [SCALE]
  sql -c 'CREATE ROLE app LOGIN' -c 'CREATE DATABASE bench OWNER app'
  sql -d bench -c 'GRANT ALL ON SCHEMA public TO app'
  [ -z "${1:-}" ] || PGOPTIONS='-c role=app' "$pgbin/pgbench" -q -h 127.0.0.1 -p "$pg_port" -U postgres -i -s "$1" bench \
    > "$dir/init.log" 2>&1 || { cat "$dir/init.log" >&2; exit 1; }
}

# Until what has this id and log answers there; its word and the end if it does not.
until_answers() { # NAME PID PORT LOG
  local _
  for _ in $(seq 300); do
    "$pgbin/psql" -qAtX -h 127.0.0.1 -p "$3" -U app -d bench -c 'SELECT 1' > "$dir/answer" 2>&1 && return 0
    kill -0 "$2" 2>/dev/null || break
    sleep 0.1
  done
  echo "$1 did not start:" >&2
  tail -n 20 "$4" "$dir/answer" >&2
  exit 1
}

# The proxy with users of the local source: $pid, $port. Lines for the head of its configuration come by stdin.
start_leasehold() { # NAME TTL POOL_SIZE
  free_port
  cat - > "$dir/$1.toml" <<CONF
$(cat)
[listen]
tcp = "127.0.0.1:$port"
max_clients = $client_limit
[log]
filter = "warn"
[databases.bench]
host = "127.0.0.1"
port = $pg_port
role = "app"
pool_size = $3
sslmode = "$tls"
[databases.bench.credentials]
source = "local"
admin_url_file = "$dir/admin_url"
creation_statements = ["CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE app"]
default_ttl = "$2"
max_ttl = "24h"
CONF
  "$leasehold" run --config "$dir/$1.toml" > "$dir/$1.log" 2>&1 &
  pid=$!
  pids="$pids $pid"
  until_answers leasehold "$pid" "$port" "$dir/$1.log"
}

# PgBouncer in transaction mode: $pid, $port. Its database bench_session is bench in session mode.
start_pgbouncer() { # NAME PROGRAM POOL_SIZE; more lines of its configuration come by stdin
  local _
  free_port
  cat - > "$dir/$1.ini" <<CONF
[databases]
bench = host=127.0.0.1 port=$pg_port dbname=bench user=app
bench_session = host=127.0.0.1 port=$pg_port dbname=bench user=app pool_mode=session pool_size=64
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = $3
server_tls_sslmode = $tls
max_client_conn = $client_limit
logfile = $dir/$1.log
pidfile = $dir/$1.pid
$(cat)
CONF
  if [ "$(id -u)" = 0 ]; then chown postgres "$dir/$1.ini"; fi
  # A login of another user's may have set back how many files may be open.
  # shellcheck disable=SC2016 # that shell's
  as_postgres sh -c 'ulimit -n "$(ulimit -Hn)"; exec "$@"' sh "$2" -d "$dir/$1.ini" > "$dir/$1.out" 2>&1 ||
    { echo "pgbouncer did not start:" >&2; cat "$dir/$1.out" >&2; exit 1; }
  for _ in $(seq 100); do [ -s "$dir/$1.pid" ] && break; sleep 0.1; done
  [ -s "$dir/$1.pid" ] || { echo "pgbouncer did not start:" >&2; cat "$dir/$1.out" "$dir/$1.log" >&2; exit 1; }
  pid=$(cat "$dir/$1.pid")
  pids="$pids $pid"
  until_answers pgbouncer "$pid" "$port" "$dir/$1.log"
}

# haproxy, which passes on bytes: $pid, $port.
start_haproxy() { # NAME PROGRAM
  free_port
  cat > "$dir/$1.cfg" <<CONF
global
  maxconn 1500
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen postgres
  bind 127.0.0.1:$port
  server postgres 127.0.0.1:$pg_port
CONF
  "$2" -db -f "$dir/$1.cfg" > "$dir/$1.log" 2>&1 &
  pid=$!
  pids="$pids $pid"
  until_answers haproxy "$pid" "$port" "$dir/$1.log"
}

# Microseconds of user and system time that a process had, all its threads (proc(5), stat).
ticks=$(getconf CLK_TCK)
cpu() { awk -v hz="$ticks" '{ sub(/.*\) /, ""); printf "%.0f", ($12 + $13) * 1000000 / hz }' "/proc/$1/stat"; }
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
# Of whole numbers, one a line: each quantile asked for, in a line.
quantiles() { # Q...
  sort -n | awk -v asked="$*" '{ v[NR] = $1 } END {
    n = split(asked, q, " ")
    for (i = 1; i <= n; i++) { at = int(NR * q[i]) + 1; if (at > NR) at = NR; printf "%.0f%s", v[at], i < n ? " " : "\n" } }'
}
