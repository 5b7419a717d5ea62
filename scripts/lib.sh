# shellcheck shell=sh
# What the scripts share; read with `.`, not run.

# A registry that is slow or away for a minute is tried again: three times in all.
thrice() {
    for pause in 10 30 0; do
        "$@" && return 0
        code=$?
        [ "$pause" = 0 ] || { echo "failed, again in $pause s: $*" >&2; sleep "$pause"; }
    done
    return "$code"
}
