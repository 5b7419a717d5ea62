#!/usr/bin/env bash
# CPU per transaction against PgBouncer alone (benches/bench measures more), in one interleaved run on one server:
# the two proxies take turns, and the median of the rounds is compared.
#
#   benches/pgbouncer.sh [ROUNDS] [SECONDS]      default: 5 rounds of 5 s for each proxy and case
#   LEASEHOLD_THREADS=1 benches/pgbouncer.sh     any key of the configuration by environment
#
# Needs postgresql and pgbouncer (scripts/install-deps --bench; PGBOUNCER=… takes another one), and a release build.
set -eu

. "$(dirname "$0")/lib.sh"

rounds=${1:-5}
seconds=${2:-5}
pgbouncer=${PGBOUNCER:-$(find_program pgbouncer)}
need "$leasehold" "$pgbin/initdb" "$pgbin/pgbench" "${pgbouncer:-pgbouncer}"

begin
start_postgres trust <<< 'max_connections = 200'
make_database 10
start_leasehold leasehold 6h 20 <<< ''
lh_pid=$pid lh_port=$port
start_pgbouncer pgbouncer "$pgbouncer" 20 <<< ''
pb_pid=$pid pb_port=$port

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
