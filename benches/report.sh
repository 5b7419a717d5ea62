# shellcheck shell=bash disable=SC2154 # what it prints was measured by benches/bench
# The table and the plot of benches/bench; read with `.`, not run. Lines of results.tsv are case, subject, round,
# metric, value; of ratios.tsv case, subject, metric, median, ratio to PgBouncer ("–" where there is none).

# Medians of the rounds, and the medians of each round's ratio to PgBouncer.
ratios() { # RESULTS
  awk -F '\t' -v OFS='\t' '
    function middle(list,   n, v, i, j, t) {
      n = split(list, v, " ")
      for (i = 2; i <= n; i++) { t = v[i] + 0; for (j = i - 1; j > 0 && v[j] + 0 > t; j--) v[j + 1] = v[j]; v[j + 1] = t }
      return n == 0 ? "–" : n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
    }
    {
      key = $1 OFS $2 OFS $4
      if (!(key in values)) order[++keys] = key
      values[key] = values[key] " " $5
      rounds[key] = rounds[key] " " $3
      value[key, $3] = $5
    }
    END {
      for (k = 1; k <= keys; k++) {
        split(order[k], part, OFS)
        base = part[1] OFS "pgbouncer" OFS part[3]
        list = ""
        n = split(rounds[order[k]], r, " ")
        for (i = 1; i <= n; i++)
          if (value[base, r[i]] + 0 > 0) list = list " " sprintf("%.4f", value[order[k], r[i]] / value[base, r[i]])
        print order[k], middle(values[order[k]]), middle(list)
      }
    }' "$1"
}

# What the numbers were measured on and with.
circumstances() {
  local haproxy_version=''
  case $subjects in *haproxy*) haproxy_version=", haproxy $("$haproxy" -v | awk 'NR == 1 { print $3 }')" ;; esac
  echo "Measured on $(date -u +%Y-%m-%d) with $("$leasehold" --version | head -n 1) ($(revision))$(
    [ -z "$bouncer_version" ] || echo ", PgBouncer $bouncer_version")$haproxy_version and"
  echo "$("$pgbin/postgres" --version | sed 's/ (Debian.*//; s/postgres (PostgreSQL)/PostgreSQL/') on $(nproc) cores ($(
    awk -F ': *' '/^model name/ { print $2; exit }' /proc/cpuinfo)), Linux $(uname -r). Rounds: $rounds of $seconds s for each case and subject."
  awk -v average="$load_average" -v cores="$(nproc)" 'BEGIN {
    busy = ": **other work ran beside it, the numbers are not to be relied on**."
    print "Load average when the rounds began: " average (average > cores / 2 ? busy : ".") }'
  [ -n "$strace" ] || echo "System calls were not measured: there is no strace here, or it may not attach."
  if [ -n "$bouncer_version" ] && [ -z "$bouncer_prepares" ]; then
    echo "PgBouncer $bouncer_version has no prepared statements in transaction mode: its rows of \`prepared\` are in session mode, with a server"
    echo "connection for each client, and its idle clients ran the extended protocol without a name."
  fi
  for name in $left_out; do echo "Not installed, so left out: $name."; done
  [ "$crowd" = "$crowd_wanted" ] || echo "Only $crowd idle clients instead of $crowd_wanted: no more files may be open (\`ulimit -n\`)."
}
revision() { git -C "$root" rev-parse --short HEAD 2>/dev/null || echo 'no revision'; }

table() { # RATIOS
  cat <<'HEAD'
| case | through | tps | × | CPU, µs | × | system calls | × | p50, µs | × | p99, µs | × | memory, KiB | × |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
HEAD
  local name subject
  for name in $names; do
    read_case "$name"
    for subject in $subjects; do
      awk -F '\t' -v row="$name" -v title="$title" -v subject="$subject" '
        function number(text, form) { return text == "" || text == "–" ? "–" : sprintf(form, text) }
        function cell(metric, form) { return " " number(value[metric], form) " | " number(ratio[metric], "%.2f") " |" }
        $1 == row && $2 == subject { value[$3] = $4; ratio[$3] = $5; any = 1 }
        END {
          if (!any) exit
          print "| " title " | " subject " |" cell("tps", "%.0f") cell("cpu", "%.1f") cell("calls", "%.1f") \
            cell("p50", "%.0f") cell("p99", "%.0f") cell("memory", row ~ /^idle/ ? "%.1f" : "%.0f")
        }' "$1"
    done
  done
}

# What idle clients beside them add to the CPU of busy ones.
beside() { # RATIOS
  local subject
  echo
  echo "| CPU per transaction, µs | 64 clients alone | beside $(grouped "$crowd") idle ones | × |"
  echo "|---|--:|--:|--:|"
  name=crowd-64 kind=crowd
  for subject in $subjects; do
    takes_part "$subject" || continue
    awk -F '\t' -v subject="$subject" '
      $1 == "crowd-64" && $2 == subject { value[$3] = $4 }
      END { printf "| %s | %.1f | %.1f | %.2f |\n", subject, value["alone"], value["cpu"], value["beside"] }' "$1"
  done
}

# What must hold (issue 17): WHAT | TARGET | METRIC | its ratio to PgBouncer's, or its own value | CASES
goals="clients ≤ pool, saturated | 1.0 | cpu | ratio | select1-8 simple-8 extended-8 prepared-8
clients > pool | 0.85 | cpu | ratio | select1-64 prepared-64
partial load | 0.85 | cpu | ratio | rate-8
1 MB results | 0.25 | cpu | ratio | mb-8
COPY out, COPY in | 0.45 | cpu | ratio | copy-out copy-in
connect + query | 1.0 | cpu | ratio | connect-8
TLS upstream | 0.9 | cpu | ratio | tls-8
memory per idle client, KiB | 4 | memory | value | idle-1000
p99 latency at 64 clients | 1.0 | p99 | ratio | select1-64 prepared-64
10,000 idle clients + 64 busy ones, against 64 busy ones | 1.05 | beside | value | crowd-64"

# Leasehold's numbers beside their targets, those that were measured in this run.
targets() { # RATIOS
  local goal target metric form cases_of
  echo
  echo "| target | case | at most | measured | |"
  echo "|---|---|--:|--:|---|"
  while IFS='|' read -r goal target metric form cases_of; do
    for name in $cases_of; do
      chosen "$name" || continue
      read_case "$name"
      awk -F '\t' -v name="$name" -v title="$title" -v goal="$goal" -v target="$target" -v metric="$metric" -v form="$form" \
        -v crowd="$crowd" '
        $1 == name && $2 == "leasehold" && $3 == metric { measured = form == "ratio" ? $5 : $4 }
        END {
          if (measured == "" || measured == "–") exit
          measured = sprintf("%.3f", measured)
          verdict = measured + 0 <= target + 0 ? "met" : "**not met**"
          if (metric == "beside" && crowd < 10000 && verdict == "met") verdict = "too few idle clients to tell"
          print "| " goal " | " title " | " target " | " measured " | " verdict " |"
        }' "$1"
    done
  done <<< "$(echo "$goals" | sed 's/ *| */|/g')"
}

# Leasehold's ratios as bars, a group for each case; grey on nothing, so that it is read on white and on black.
plot() { # RATIOS
  local name
  for name in $names; do
    read_case "$name"
    awk -F '\t' -v OFS='\t' -v name="$name" -v title="$title" '
      $1 == name && $2 == "leasehold" && $5 != "–" && $3 != "tps" && ($3 != "memory" || name ~ /^idle/) {
        print title, $3, $5 }' "$1"
  done | awk -F '\t' '
    BEGIN {
      n = split("cpu calls p50 p99 memory", metric, " ")
      split("CPU|system calls|p50|p99|memory", label, "|")
      split("#3f8fd2 #9a6fd0 #2fa37c #d9822b #c9587b", colour, " ")
      left = 330; unit = 200; most = 2.2
    }
    { if (!($1 in seen)) { seen[$1] = 1; order[++cases] = $1 } ratio[$1, $2] = $3 }
    function text(x, y, anchor, words) {
      gsub(/&/, "\\&amp;", words); gsub(/</, "\\&lt;", words)
      body = body sprintf("<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, words)
    }
    END {
      y = 62
      if (!cases) { text(left, y, "middle", "nothing to compare: no ratio to PgBouncer was measured"); y += 20 }
      for (c = 1; c <= cases; c++) {
        top = y
        for (m = 1; m <= n; m++) {
          if (!((order[c], metric[m]) in ratio)) continue
          r = ratio[order[c], metric[m]] + 0
          width = (r > most ? most : r) * unit
          body = body sprintf("<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"11\" fill=\"%s\"/>\n", left, y, width, colour[m])
          text(left + width + 5, y + 10, "start", sprintf("%.2f", r) (r > most ? " →" : ""))
          y += 13
        }
        text(left - 10, (top + y) / 2 + 4, "end", order[c])
        y += 12
      }
      text(left, 20, "middle", "Leasehold ÷ PgBouncer, median of the rounds; less is better")
      x = left - 200
      for (m = 1; m <= n; m++) {
        body = body sprintf("<rect x=\"%d\" y=\"32\" width=\"11\" height=\"11\" fill=\"%s\"/>\n", x, colour[m])
        text(x + 16, 42, "start", label[m])
        x += 110
      }
      printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 840 %d\" width=\"840\" height=\"%d\" ", y + 20, y + 20
      print "font-family=\"sans-serif\" font-size=\"12\" fill=\"#7d8590\">"
      print "<title>Leasehold compared with PgBouncer</title>"
      printf "%s", body
      printf "<line x1=\"%d\" y1=\"52\" x2=\"%d\" y2=\"%d\" stroke=\"#7d8590\" stroke-dasharray=\"4 3\"/>\n", left + unit, left + unit, y
      text2 = sprintf("<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">1.0</text>", left + unit, y + 14)
      print text2
      print "</svg>"
    }'
}

# table.md, ratios.svg and results.tsv into $out.
report() {
  cp "$results" "$out/results.tsv"
  ratios "$results" > "$dir/ratios.tsv"
  { circumstances; echo; table "$dir/ratios.tsv"
    ! chosen crowd-64 || beside "$dir/ratios.tsv"
    targets "$dir/ratios.tsv"; } > "$out/table.md"
  plot "$dir/ratios.tsv" > "$out/ratios.svg"
  cat "$out/table.md"
}

# The same into the documentation, between its two marks.
publish() {
  local page=$root/docs/performance.md
  [ "$(grep -c '^<!-- bench: \(begin\|end\) -->$' "$page")" = 2 ] || die "$page has not the two marks"
  awk -v table="$out/table.md" '
    /^<!-- bench: begin -->$/ { print; print ""; while ((getline line < table) > 0) print line; print ""; inside = 1 }
    /^<!-- bench: end -->$/ { inside = 0 }
    !inside' "$page" > "$dir/performance.md"
  cp "$dir/performance.md" "$page"
  cp "$out/ratios.svg" "$root/docs/performance.svg"
  echo "published in docs/performance.md and docs/performance.svg"
}
