#!/usr/bin/env bash
# What a change of users costs clients: latencies of pgbench -S at a fixed rate well under saturation, through
# a proxy whose users change every 5 s and through one whose user stays, in turns on one server.
#
#   benches/rotation.sh [ROUNDS] [SECONDS]       default: 5 rounds of 15 s for each case
#   BENCH_BINARY=… benches/rotation.sh           another build of the proxy
#   BENCH_POOL=100 BENCH_CLIENTS="64" BENCH_RATE=4000 benches/rotation.sh
#
# Needs postgresql (apt-get install postgresql) and a release build. Loopback only; everything that it starts
# is stopped, and its directory removed, on the way out.
set -eu

rounds=${1:-5}
seconds=${2:-15}
root=$(cd "$(dirname "$0")/.." && pwd)
leasehold=${BENCH_BINARY:-${CARGO_TARGET_DIR:-$root/target}/release/leasehold}
pgbin=${LEASEHOLD_TEST_PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)}
for program in "$leasehold" "$pgbin/initdb"; do
  [ -x "$program" ] || { echo "$program is missing: cargo build --release; apt-get install postgresql" >&2; exit 1; }
done

dir=$(mktemp -d /tmp/leasehold-bench.XXXXXX)
base=$((20000 + RANDOM % 10000))
pg_port=$base
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
[ "$(id -u)" != 0 ] || chown postgres "$dir"
pids=
finish() {
  for pid in $pids; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done
  as_postgres "$pgbin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap finish EXIT

# Passwords are asked for, as they are where users come from Vault: SCRAM is part of what is measured.
echo bench > "$dir/password"
[ "$(id -u)" != 0 ] || chown postgres "$dir/password"
as_postgres "$pgbin/initdb" -D "$dir/data" -U postgres -A scram-sha-256 --pwfile "$dir/password" >/dev/null
as_postgres tee -a "$dir/data/postgresql.conf" >/dev/null <<CONF
port = $pg_port
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
fsync = off
max_connections = 500
CONF
as_postgres "$pgbin/pg_ctl" -D "$dir/data" -l "$dir/pg.log" -w start >/dev/null
export PGPASSWORD=bench
sql() { "$pgbin/psql" -qX -h 127.0.0.1 -p "$pg_port" -U postgres -v ON_ERROR_STOP=1 "$@"; }
sql -c 'CREATE ROLE app' -c 'CREATE DATABASE bench OWNER app'
sql -d bench -c 'GRANT ALL ON SCHEMA public TO app'
PGOPTIONS='-c role=app' "$pgbin/pgbench" -q -h 127.0.0.1 -p "$pg_port" -U postgres -i -s 10 bench 2>/dev/null
echo "postgresql://postgres:bench@127.0.0.1:$pg_port/bench" > "$dir/admin_url"

start() { # name port default_ttl
  cat > "$dir/$1.toml" <<CONF
[listen]
tcp = "127.0.0.1:$2"
[log]
filter = "warn"
[databases.bench]
host = "127.0.0.1"
port = $pg_port
role = "app"
pool_size = ${BENCH_POOL:-20}
sslmode = "disable"
[databases.bench.credentials]
source = "local"
admin_url_file = "$dir/admin_url"
creation_statements = ["CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE app"]
default_ttl = "$3"
max_ttl = "24h"
CONF
  "$leasehold" run --config "$dir/$1.toml" 2> "$dir/$1.log" &
  pids="$pids $!"
  for _ in $(seq 100); do
    "$pgbin/psql" -qAtX -h 127.0.0.1 -p "$2" -U app -d bench -c 'SELECT 1' >/dev/null 2>&1 && return
    sleep 0.1
  done
  cat "$dir/$1.log" >&2
  exit 1
}
start staying $((base + 1)) 6h
start changing $((base + 2)) "${BENCH_TTL:-7s}"

# Latencies in microseconds, of all rounds: 50th, 99th, 99.9th percentile and worst.
run() { # name port clients rate
  rm -f "$dir"/log.*
  (cd "$dir" && "$pgbin/pgbench" -n -S -h 127.0.0.1 -p "$2" -U app -c "$3" -j 2 -R "$4" -T "$seconds" -l --log-prefix=log bench) \
    > "$dir/out" 2>&1 || { cat "$dir/out" >&2; exit 1; }
  grep -q 'number of failed transactions: 0' "$dir/out" || { echo "$1: transactions failed" >&2; exit 1; }
  cat "$dir"/log.* | awk '{ print $3 }' >> "$dir/$1.$3"
}
figures() { # name clients
  sort -n "$dir/$1.$2" | awk '{ v[NR] = $1 } END {
    printf "%d %d %d %d\n", v[int(NR * .5) + 1], v[int(NR * .99) + 1], v[int(NR * .999) + 1], v[NR] }'
}

echo "pgbench -S at a fixed rate, pool ${BENCH_POOL:-20}, microseconds over $rounds rounds of $seconds s; $(nproc) cores"
for clients in ${BENCH_CLIENTS:-8 64}; do
  rate=${BENCH_RATE:-2000}
  for _ in $(seq "$rounds"); do
    run staying $((base + 1)) "$clients" "$rate"
    run changing $((base + 2)) "$clients" "$rate"
  done
  for name in staying changing; do
    read -r p50 p99 p999 worst <<< "$(figures "$name" "$clients")"
    printf '%2s clients, user %-8s  p50 %6d   p99 %6d   p99.9 %7d   worst %7d\n' "$clients" "$name" "$p50" "$p99" "$p999" "$worst"
  done
done
