#!/usr/bin/env bash
# CPU per transaction against PgBouncer (Debian's), in one interleaved run on one server:
# the two proxies take turns, and the median of the rounds is compared.
#
#   benches/pgbouncer.sh [ROUNDS] [SECONDS]      default: 5 rounds of 5 s for each proxy and case
#   LEASEHOLD_THREADS=1 benches/pgbouncer.sh     any key of the configuration by environment
#
# Needs postgresql and pgbouncer (apt-get install postgresql pgbouncer), and a release build. Loopback
# only; everything that it starts is stopped, and its directory removed, on the way out.
set -eu

rounds=${1:-5}
seconds=${2:-5}
root=$(cd "$(dirname "$0")/.." && pwd)
leasehold=${BENCH_BINARY:-${CARGO_TARGET_DIR:-$root/target}/release/leasehold}
pgbin=${LEASEHOLD_TEST_PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)}
pgbouncer=$(command -v pgbouncer || echo /usr/sbin/pgbouncer)
for program in "$leasehold" "$pgbin/initdb" "$pgbouncer"; do
  [ -x "$program" ] || { echo "$program is missing: cargo build --release; apt-get install postgresql pgbouncer" >&2; exit 1; }
done

dir=$(mktemp -d /tmp/leasehold-bench.XXXXXX)
base=$((20000 + RANDOM % 10000))
pg_port=$base lh_port=$((base + 1)) pb_port=$((base + 2))
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
[ "$(id -u)" != 0 ] || chown postgres "$dir"
lh_pid='' pb_pid=''
finish() {
  [ -z "$lh_pid" ] || kill "$lh_pid" 2>/dev/null || true
  [ -z "$lh_pid" ] || wait "$lh_pid" 2>/dev/null || true
  [ -z "$pb_pid" ] || kill "$pb_pid" 2>/dev/null || true
  as_postgres "$pgbin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap finish EXIT

as_postgres "$pgbin/initdb" -D "$dir/data" -U postgres -A trust >/dev/null
as_postgres tee -a "$dir/data/postgresql.conf" >/dev/null <<CONF
port = $pg_port
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
fsync = off
max_connections = 200
CONF
as_postgres "$pgbin/pg_ctl" -D "$dir/data" -l "$dir/pg.log" -w start >/dev/null
sql() { "$pgbin/psql" -qX -h 127.0.0.1 -p "$pg_port" -U postgres -v ON_ERROR_STOP=1 "$@"; }
sql -c 'CREATE ROLE app' -c 'CREATE ROLE bouncer LOGIN IN ROLE app' -c 'CREATE DATABASE bench OWNER app'
sql -d bench -c 'GRANT ALL ON SCHEMA public TO app'
PGOPTIONS='-c role=app' "$pgbin/pgbench" -q -h 127.0.0.1 -p "$pg_port" -U postgres -i -s 10 bench 2>/dev/null

echo "postgresql://postgres@127.0.0.1:$pg_port/bench" > "$dir/admin_url"
cat > "$dir/leasehold.toml" <<CONF
[listen]
tcp = "127.0.0.1:$lh_port"
[log]
filter = "warn"
[databases.bench]
host = "127.0.0.1"
port = $pg_port
role = "app"
pool_size = 20
sslmode = "disable"
[databases.bench.credentials]
source = "local"
admin_url_file = "$dir/admin_url"
creation_statements = ["CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE app"]
default_ttl = "6h"
max_ttl = "24h"
CONF
cat > "$dir/pgbouncer.ini" <<CONF
[databases]
bench = host=127.0.0.1 port=$pg_port dbname=bench user=bouncer
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $pb_port
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 20
max_client_conn = 1000
logfile = $dir/pgbouncer.log
pidfile = $dir/pgbouncer.pid
CONF
"$leasehold" run --config "$dir/leasehold.toml" 2> "$dir/leasehold.log" &
lh_pid=$!
[ "$(id -u)" != 0 ] || chown postgres "$dir/pgbouncer.ini"
as_postgres "$pgbouncer" -d "$dir/pgbouncer.ini" >/dev/null 2>&1
for _ in $(seq 50); do [ -s "$dir/pgbouncer.pid" ] && break; sleep 0.1; done
pb_pid=$(cat "$dir/pgbouncer.pid")
for port in "$lh_port" "$pb_port"; do
  for _ in $(seq 100); do
    "$pgbin/psql" -qAtX -h 127.0.0.1 -p "$port" -U app -d bench -c 'SELECT 1' >/dev/null 2>&1 && break
    sleep 0.1
  done
done

for pid in "$lh_pid" "$pb_pid"; do
  kill -0 "$pid" || { cat "$dir/leasehold.log" "$dir/pgbouncer.log" >&2; exit 1; }
done
ticks=$(getconf CLK_TCK)
cpu() { awk -v hz="$ticks" '{ sub(/.*\) /, ""); printf "%.0f", ($12 + $13) * 1000000 / hz }' "/proc/$1/stat"; }
round() { # port pid clients pgbench-arguments…
  local port=$1 pid=$2 clients=$3 before after out
  shift 3
  before=$(cpu "$pid")
  out=$("$pgbin/pgbench" -n -h 127.0.0.1 -p "$port" -U app -c "$clients" -j 1 -T "$seconds" "$@" bench 2>&1) || true
  after=$(cpu "$pid")
  echo "$out" | awk -v cpu=$((after - before)) '
    /actually processed/ { n = $6 } /failed transactions/ { failed = $5 } /^tps/ { tps = $3 }
    END { printf "%.2f %.0f %s\n", n ? cpu / n : 0, tps, failed }'
}
median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

compare() { # name clients pgbench-arguments…
  local name=$1 clients=$2
  shift 2
  : > "$dir/lh"; : > "$dir/pb"
  for _ in $(seq "$rounds"); do
    round "$lh_port" "$lh_pid" "$clients" "$@" >> "$dir/lh"
    round "$pb_port" "$pb_pid" "$clients" "$@" >> "$dir/pb"
  done
  printf '%-34s leasehold %6.2f µs  %6.0f tps   pgbouncer %6.2f µs  %6.0f tps   ratio %.2f   failed %s\n' "$name" \
    "$(awk '{print $1}' "$dir/lh" | median)" "$(awk '{print $2}' "$dir/lh" | median)" \
    "$(awk '{print $1}' "$dir/pb" | median)" "$(awk '{print $2}' "$dir/pb" | median)" \
    "$(paste "$dir/lh" "$dir/pb" | awk '{print $4 ? $1 / $4 : 0}' | median)" \
    "$(awk '{s += $3} END {print s + 0}' "$dir/lh")"
}

echo "CPU per transaction, medians of $rounds rounds of $seconds s; $("$pgbouncer" --version | head -n 1); $(nproc) cores"
compare 'pgbench -S, 8 clients, pool 20' 8 -S
compare 'pgbench -S, 64 clients, pool 20' 64 -S
