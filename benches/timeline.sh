# shellcheck shell=bash disable=SC2154 # what it reads was measured by benches/rotation.sh
# The plot of benches/rotation.sh, latency over time; read with `.`, not run. Lines of a timeline are the panel's
# title, "p99" or "change", seconds since the run began, microseconds (of a change: 0), between tabs.

# The run just made: p99 of each 100 ms, and when the proxy's next user served.
timeline() { # NAME TITLE
  # pgbench's lines: client, number, microseconds, script, second and microsecond of its end.
  awk '{ at = $5 + $6 / 1000000; printf "%.6f %s\n", at, $3 }' "$dir"/log.* | sort -n > "$dir/ends"
  awk -v OFS='\t' -v title="$2" '
    NR == 1 { begun = $1 }
    { print int(($1 - begun) * 10), $2 }' "$dir/ends" | sort -k 1,1n -k 2,2n | awk -v OFS='\t' -v title="$2" '
    function close_slot() { at = int(n * 0.99) + 1; if (at > n) at = n; if (n) print title, "p99", slot / 10, v[at]; n = 0 }
    $1 != slot { close_slot(); slot = $1 }
    { v[++n] = $2 }
    END { close_slot() }'
  changes "$1" | awk -v OFS='\t' -v title="$2" -v begun="$(awk 'NR == 1 { print $1 }' "$dir/ends")" -v seconds="$seconds" '
    $1 >= begun && $1 < begun + seconds { printf "%s\tchange\t%.3f\t0\n", title, $1 - begun }'
}
# Seconds since 1970 when a user began to serve instead of another.
changes() { # NAME
  local time
  sed -n 's/^{"timestamp":"\([^"]*\)".*"message":"active".*"before":.*/\1/p' "$dir/$1.log" |
    while read -r time; do date -d "$time" +%s.%N; done
}

# A panel for each title, one under the other, latencies on a logarithmic scale that all have; grey on nothing, so
# that it is read on white and on black.
plot_timeline() { # CIRCUMSTANCES; timelines come by stdin
  awk -F '\t' -v seconds="$seconds" -v words="$1" '
    function text(x, y, anchor, words) {
      gsub(/&/, "\\&amp;", words); gsub(/</, "\\&lt;", words)
      printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, words
    }
    function line(x1, y1, x2, y2, more) {
      printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#7d8590\" %s/>\n", x1, y1, x2, y2, more
    }
    function up(us) { us = us < low ? low : us; return high_y - (log(us) - log(low)) / (log(most) - log(low)) * tall }
    BEGIN { left = 70; wide = 750; tall = 110; low = 100; most = 1000 }
    !($1 in seen) { seen[$1] = 1; order[++panels] = $1 }
    $2 == "p99" {
      while ($4 > most) most *= 10
      slots[$1]++; second[$1, slots[$1]] = $3; value[$1, slots[$1]] = $4
      if ($3 + 0.1 > seconds) seconds = $3 + 0.1
    }
    $2 == "change" { times[$1]++; when[$1, times[$1]] = $3 }
    END {
      height = 44 + panels * (tall + 52) + 8
      printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 840 %d\" width=\"840\" height=\"%d\" ", height, height
      print "font-family=\"sans-serif\" font-size=\"12\" fill=\"#7d8590\">"
      print "<title>Latency while users change</title>"
      text(left + wide / 2, 18, "middle", "p99 of each 100 ms, the first round; dashed: the next user serves")
      text(left + wide / 2, 34, "middle", words)
      for (p = 1; p <= panels; p++) {
        t = order[p]
        high_y = 44 + (p - 1) * (tall + 52) + 22 + tall
        text(left, high_y - tall - 6, "start", t)
        for (us = low; us <= most; us *= 10) {
          line(left, up(us), left + wide, up(us), "stroke-opacity=\"0.25\"")
          text(left - 6, up(us) + 4, "end", us / 1000 " ms")
        }
        step = seconds > 40 ? 10 : seconds > 16 ? 2 : 1
        for (s = 0; s <= seconds; s += step) text(left + s / seconds * wide, high_y + 15, "middle", s " s")
        for (i = 1; i <= times[t]; i++) {
          x = left + when[t, i] / seconds * wide
          line(x, high_y - tall, x, high_y, "stroke-dasharray=\"4 3\"")
        }
        printf "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.2\" points=\"", t ~ /stays/ ? "#2fa37c" : t ~ /before/ ? "#c9587b" : "#3f8fd2"
        for (i = 1; i <= slots[t]; i++)
          printf "%.1f,%.1f ", left + (second[t, i] + 0.05) / seconds * wide, up(value[t, i])
        print "\"/>"
      }
      print "</svg>"
    }'
}
