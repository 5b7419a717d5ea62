#!/usr/bin/env bash
# What being scraped costs: pgbench -S through Leasehold, in turns with ten scrapes of /metrics a second and
# without, in one run on one server. CPU by the scheduler's clock, per transaction.
#
#   benches/scrape.sh [ROUNDS] [SECONDS] [SCRAPES]    default: 8 rounds of 4 s each way, 10 scrapes a second
#
# Needs postgresql, curl and a release build.
set -eu

. "$(dirname "$0")/lib.sh"

rounds=${1:-8} seconds=${2:-4} scrapes=${3:-10}
need "$leasehold" "$pgbin/initdb" "$pgbin/pgbench"

begin
start_postgres trust <<< ''
make_database 10
free_port
http_port=$port
start_leasehold leasehold 6h 20 <<CONF
[http]
listen = "127.0.0.1:$http_port"
CONF
lh_pid=$pid lh_port=$port scraper=''

# Nanoseconds on a CPU, all threads (proc(5), schedstat).
cpu_ns() { cat "/proc/$1/task/"*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
scrape() { curl -s -o /dev/null "http://127.0.0.1:$http_port/metrics"; }
# One process that stays: forks of the scraper's own would cost the machine more than the scrapes.
scrape_for_ever() { exec curl -s -o /dev/null --rate "$scrapes/s" "http://127.0.0.1:$http_port/metrics#[1-1000000]"; }
round() { # with or without
  local before out after
  if [ "$1" = with ]; then scrape_for_ever & scraper=$! pids="$pids $!"; fi
  before=$(cpu_ns "$lh_pid")
  out=$("$pgbin/pgbench" -n -S -h 127.0.0.1 -p "$lh_port" -U app -c 8 -j 1 -T "$seconds" bench 2>&1)
  after=$(cpu_ns "$lh_pid")
  if [ -n "$scraper" ]; then stop "$scraper"; forget "$scraper"; scraper=''; fi
  echo "$out" | awk -v cpu=$((after - before)) '
    /actually processed/ { n = $6 } /^tps/ { tps = $3 } END { printf "%.3f %.0f\n", n ? cpu / n / 1000 : 0, tps }'
}

for _ in $(seq 20); do scrape; done
before=$(cpu_ns "$lh_pid")
for _ in $(seq 200); do scrape; done
after=$(cpu_ns "$lh_pid")
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
