#!/usr/bin/env bash
# What a change of users costs clients: latencies of pgbench -S at a fixed rate well under saturation, through
# a proxy whose users change every 5 s and through one whose user stays, in turns on one server.
#
#   benches/rotation.sh [--long] [--out DIR] [--publish] [ROUNDS] [SECONDS]     default: 5 rounds of 15 s for each case
#
#   --long       leases of a minute: two changes in each of 3 rounds of 100 s (20 minutes)
#   --out        where rotation.md and rotation.svg go (target/bench)
#   --publish    the plot goes to docs/rotation.svg too
#   BENCH_BINARY=… benches/rotation.sh           another build of the proxy
#   BEFORE=… benches/rotation.sh                 an older build beside it, its users changing too
#   BENCH_POOL=100 BENCH_CLIENTS="64" BENCH_RATE=4000 BENCH_TTL=10s BENCH_SCALE=1 benches/rotation.sh
#
# Needs postgresql (apt-get install postgresql) and a release build.
set -eu

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/timeline.sh"

rounds=5 seconds=15 ttl=7s long='' publish='' out=${CARGO_TARGET_DIR:-$root/target}/bench
while [ "$#" -gt 0 ]; do
  case $1 in
    --long) long=yes rounds=3 seconds=100 ttl=60s ;;
    --publish) publish=yes ;;
    --out) [ "$#" -gt 1 ] || die "--out wants a value"; out=$2; shift ;;
    -*) die "$1 is unknown; usage: benches/rotation.sh [--long] [--out DIR] [--publish] [ROUNDS] [SECONDS]" ;;
    *) break ;;
  esac
  shift
done
[ -z "$long" ] || [ -z "$publish" ] || die "the plot in the documentation is not that of --long"
rounds=${1:-$rounds} seconds=${2:-$seconds} ttl=${BENCH_TTL:-$ttl} pool=${BENCH_POOL:-20} rate=${BENCH_RATE:-2000}
need "$leasehold" "$pgbin/initdb" "$pgbin/pgbench" ${BEFORE:+"$BEFORE"}

begin
mkdir -p "$out"
# Passwords are asked for, as they are where users come from Vault: SCRAM is part of what is measured.
start_postgres scram-sha-256 <<< 'max_connections = 500'
make_database "${BENCH_SCALE:-10}"
declare -A port_of said
names='staying changing'
start_leasehold staying 6h "$pool" <<< ''
port_of[staying]=$port said[staying]='user stays'
# Its log says when the next user served.
LEASEHOLD_LOG__FILTER=info LEASEHOLD_LOG__FORMAT=json start_leasehold changing "$ttl" "$pool" <<< ''
port_of[changing]=$port said[changing]='users change'
if [ -n "${BEFORE:-}" ]; then
  names="$names before"
  LEASEHOLD_LOG__FILTER=info LEASEHOLD_LOG__FORMAT=json leasehold=$BEFORE start_leasehold before "$ttl" "$pool" <<< ''
  port_of[before]=$port said[before]='users change, before'
fi

# Latencies in microseconds, of all rounds, and the figures of this round; of the first one also when they were.
run() { # NAME CLIENTS ROUND
  rm -f "$dir"/log.*
  (cd "$dir" && "$pgbin/pgbench" -n -S -h 127.0.0.1 -p "${port_of[$1]}" -U app -c "$2" -j 2 -R "$rate" -T "$seconds" -l --log-prefix=log bench) \
    > "$dir/out" 2>&1 || { cat "$dir/out" >&2; exit 1; }
  grep -q 'number of failed transactions: 0' "$dir/out" || { echo "$1: transactions failed" >&2; exit 1; }
  cat "$dir"/log.* | awk '{ print $3 }' > "$dir/round"
  [ -s "$dir/round" ] || die "$1: not one transaction in $seconds s"
  cat "$dir/round" >> "$dir/$1.$2"
  echo "$2 $1 $3 $(quantiles 0.99 1 < "$dir/round")" >> "$dir/rounds"
  [ "$3" != 1 ] || timeline "$1" "$2 clients, ${said[$1]}" >> "$dir/timeline"
}
# Median of the rounds' own ratios to the user that stays.
ratio() { # NAME CLIENTS COLUMN
  awk -v clients="$2" -v name="$1" -v column="$3" '
    $1 == clients { value[$2, $3] = $column; if ($3 > rounds) rounds = $3 }
    END { for (r = 1; r <= rounds; r++) { base = value["staying", r]; print value[name, r] / (base > 0 ? base : 1) } }' "$dir/rounds" | median
}
# The same as its target in issue 17 has it: the worst of leases of a minute or more, p99 of shorter ones.
against_target() { # NAME CLIENTS
  local what='p99' column=4 target=1.2
  [ -z "$long" ] || what='worst latency' column=5 target=2
  awk -v ratio="$(ratio "$1" "$2" "$column")" -v target="$target" -v what="$what" -v of="$2 clients, ${said[$1]} (lease $ttl)" 'BEGIN {
    ratio = sprintf("%.3f", ratio)
    print "| " of " | " what " ÷ that of a user that stays | " target " | " ratio " | " (ratio + 0 <= target ? "met" : "**not met**") " |" }'
}
report() {
  local name clients p50 p99 p999 worst
  echo "pgbench -S, $rate transactions a second, pool $pool, microseconds over $rounds rounds of $seconds s; $(circumstances)"
  echo
  echo '| | p50 | p99 | p99.9 | worst |'
  echo '|---|--:|--:|--:|--:|'
  for clients in $all; do
    for name in $names; do
      read -r p50 p99 p999 worst <<< "$(quantiles 0.5 0.99 0.999 1 < "$dir/$name.$clients")"
      echo "| $clients clients, ${said[$name]} | $p50 | $p99 | $p999 | $worst |"
    done
  done
  echo
  echo '| target | | at most | measured | |'
  echo '|---|---|--:|--:|---|'
  for clients in $all; do against_target changing "$clients"; done
}
circumstances() {
  echo "$(date -u +%Y-%m-%d), $(nproc) cores, load average $load_average when it began"
}

load_average=$(cut -d ' ' -f 1 /proc/loadavg)
: > "$dir/timeline"
all=${BENCH_CLIENTS:-8 64}
for clients in $all; do
  for round in $(seq "$rounds"); do
    for name in $names; do run "$name" "$clients" "$round"; done
  done
done
report > "$out/rotation.md"
plot_timeline "$(circumstances)" < "$dir/timeline" > "$out/rotation.svg"
cat "$out/rotation.md"
echo "$out/rotation.md and $out/rotation.svg"
if [ -n "$publish" ]; then
  cp "$out/rotation.svg" "$root/docs/rotation.svg"
  echo 'published in docs/rotation.svg'
fi
