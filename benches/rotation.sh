#!/usr/bin/env bash
# What a change of users costs clients: latencies of pgbench -S at a fixed rate well under saturation, through
# a proxy whose users change every 5 s and through one whose user stays, in turns on one server.
#
#   benches/rotation.sh [ROUNDS] [SECONDS]       default: 5 rounds of 15 s for each case
#   BENCH_BINARY=… benches/rotation.sh           another build of the proxy
#   BENCH_POOL=100 BENCH_CLIENTS="64" BENCH_RATE=4000 benches/rotation.sh
#
# Needs postgresql (apt-get install postgresql) and a release build.
set -eu

. "$(dirname "$0")/lib.sh"

rounds=${1:-5}
seconds=${2:-15}
need "$leasehold" "$pgbin/initdb" "$pgbin/pgbench"

begin
# Passwords are asked for, as they are where users come from Vault: SCRAM is part of what is measured.
start_postgres scram-sha-256 <<< 'max_connections = 500'
make_database 10
start_leasehold staying 6h "${BENCH_POOL:-20}" <<< ''
staying=$port
start_leasehold changing "${BENCH_TTL:-7s}" "${BENCH_POOL:-20}" <<< ''
changing=$port

# Latencies in microseconds, of all rounds: 50th, 99th, 99.9th percentile and worst.
run() { # name port clients rate
  rm -f "$dir"/log.*
  (cd "$dir" && "$pgbin/pgbench" -n -S -h 127.0.0.1 -p "$2" -U app -c "$3" -j 2 -R "$4" -T "$seconds" -l --log-prefix=log bench) \
    > "$dir/out" 2>&1 || { cat "$dir/out" >&2; exit 1; }
  grep -q 'number of failed transactions: 0' "$dir/out" || { echo "$1: transactions failed" >&2; exit 1; }
  cat "$dir"/log.* | awk '{ print $3 }' >> "$dir/$1.$3"
}
figures() { # name clients
  quantiles 0.5 0.99 0.999 1 < "$dir/$1.$2"
}

echo "pgbench -S at a fixed rate, pool ${BENCH_POOL:-20}, microseconds over $rounds rounds of $seconds s; $(nproc) cores"
for clients in ${BENCH_CLIENTS:-8 64}; do
  rate=${BENCH_RATE:-2000}
  for _ in $(seq "$rounds"); do
    run staying "$staying" "$clients" "$rate"
    run changing "$changing" "$clients" "$rate"
  done
  for name in staying changing; do
    read -r p50 p99 p999 worst <<< "$(figures "$name" "$clients")"
    printf '%2s clients, user %-8s  p50 %6d   p99 %6d   p99.9 %7d   worst %7d\n' "$clients" "$name" "$p50" "$p99" "$p999" "$worst"
  done
done
