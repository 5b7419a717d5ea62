#!/usr/bin/env bash
# What being scraped costs: pgbench -S through Leasehold, in turns with ten scrapes of /metrics a second and
# without, in one run on one server. CPU by the scheduler's clock, per transaction.
#
#   benches/scrape.sh [ROUNDS] [SECONDS] [SCRAPES]    default: 8 rounds of 4 s each way, 10 scrapes a second
#
# Needs postgresql, curl and a release build. Loopback only; everything that it starts is stopped, and its
# directory removed, on the way out.
set -eu

rounds=${1:-8} seconds=${2:-4} scrapes=${3:-10}
root=$(cd "$(dirname "$0")/.." && pwd)
leasehold=${BENCH_BINARY:-${CARGO_TARGET_DIR:-$root/target}/release/leasehold}
pgbin=${LEASEHOLD_TEST_PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)}
for program in "$leasehold" "$pgbin/initdb"; do
  [ -x "$program" ] || { echo "$program is missing: cargo build --release; apt-get install postgresql" >&2; exit 1; }
done

dir=$(mktemp -d /tmp/leasehold-scrape.XXXXXX)
base=$((20000 + RANDOM % 10000))
pg_port=$base lh_port=$((base + 1)) http_port=$((base + 2))
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
[ "$(id -u)" != 0 ] || chown postgres "$dir"
lh_pid='' scraper=''
finish() {
  [ -z "$scraper" ] || kill "$scraper" 2>/dev/null || true
  [ -z "$lh_pid" ] || kill "$lh_pid" 2>/dev/null || true
  [ -z "$lh_pid" ] || wait "$lh_pid" 2>/dev/null || true
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
CONF
as_postgres "$pgbin/pg_ctl" -D "$dir/data" -l "$dir/pg.log" -w start >/dev/null
"$pgbin/pgbench" -q -h 127.0.0.1 -p "$pg_port" -U postgres -i -s 10 postgres 2>/dev/null
"$pgbin/psql" -qX -h 127.0.0.1 -p "$pg_port" -U postgres -c 'GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC'
echo "postgresql://postgres@127.0.0.1:$pg_port/postgres" > "$dir/admin_url"
cat > "$dir/leasehold.toml" <<CONF
[listen]
tcp = "127.0.0.1:$lh_port"
[http]
listen = "127.0.0.1:$http_port"
[log]
filter = "warn"
[databases.postgres]
host = "127.0.0.1"
port = $pg_port
sslmode = "disable"
[databases.postgres.credentials]
source = "local"
admin_url_file = "$dir/admin_url"
creation_statements = ["CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"]
default_ttl = "6h"
CONF
"$leasehold" run --config "$dir/leasehold.toml" 2> "$dir/leasehold.log" &
lh_pid=$!
for _ in $(seq 100); do
  "$pgbin/psql" -qAtX -h 127.0.0.1 -p "$lh_port" -U app -d postgres -c 'SELECT 1' >/dev/null 2>&1 && break
  sleep 0.1
done
kill -0 "$lh_pid" || { cat "$dir/leasehold.log" >&2; exit 1; }

# Nanoseconds on a CPU, all threads (proc(5), schedstat).
cpu() { cat "/proc/$1/task/"*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
scrape() { curl -s -o /dev/null "http://127.0.0.1:$http_port/metrics"; }
# One process that stays: forks of the scraper's own would cost the machine more than the scrapes.
scrape_for_ever() { exec curl -s -o /dev/null --rate "$scrapes/s" "http://127.0.0.1:$http_port/metrics#[1-1000000]"; }
round() { # with or without
  local before out after
  if [ "$1" = with ]; then scrape_for_ever & scraper=$!; fi
  before=$(cpu "$lh_pid")
  out=$("$pgbin/pgbench" -n -S -h 127.0.0.1 -p "$lh_port" -U app -c 8 -j 1 -T "$seconds" postgres 2>&1)
  after=$(cpu "$lh_pid")
  if [ -n "$scraper" ]; then kill "$scraper"; wait "$scraper" 2>/dev/null || true; scraper=''; fi
  echo "$out" | awk -v cpu=$((after - before)) '
    /actually processed/ { n = $6 } /^tps/ { tps = $3 } END { printf "%.3f %.0f\n", n ? cpu / n / 1000 : 0, tps }'
}
median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

for _ in $(seq 20); do scrape; done
before=$(cpu "$lh_pid")
for _ in $(seq 200); do scrape; done
after=$(cpu "$lh_pid")
echo "one scrape, nothing else going on: $(((after - before) / 200000)) us of CPU, $(curl -s "http://127.0.0.1:$http_port/metrics" | wc -c) bytes"

for _ in $(seq "$rounds"); do
  # The order takes turns too.
  round without >> "$dir/without"
  round with >> "$dir/with"
  round with >> "$dir/with"
  round without >> "$dir/without"
done
printf 'pgbench -S, 8 clients, %s scrapes a second: CPU %.2f us a transaction with, %.2f without, ratio %.3f; tps %.0f with, %.0f without, ratio %.3f\n' \
  "$scrapes" "$(awk '{print $1}' "$dir/with" | median)" "$(awk '{print $1}' "$dir/without" | median)" \
  "$(paste "$dir/with" "$dir/without" | awk '{print $1 / $3}' | median)" \
  "$(awk '{print $2}' "$dir/with" | median)" "$(awk '{print $2}' "$dir/without" | median)" \
  "$(paste "$dir/with" "$dir/without" | awk '{print $2 / $4}' | median)"
