#!/bin/sh
# Checks the model of the hit journal, hits.pml, with spin.
#
# usage: sh tests/model/run.sh
#
# First that every C function that the model names exists in src. Then the
# model in several configurations, in which spin must find no fault, and with
# one step left out at a time, in which it must find one. The exit status is 0
# when all is as expected.

set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
root=${here%/tests/model}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# The sizes of the configurations: each takes a second or two.
claims="-DWORKERS=2 -DJANITORS=1 -DHITS=3 -DLOSSES=0 -DLATE=0"
janitors="-DWORKERS=1 -DHITS=2 -DLINKS=1"
removal="$janitors -DREMOVALS=1"
nodes="$janitors -DNODES=2 -DLATE=0"
power="-DWORKERS=1 -DJANITORS=1 -DPOWER=1 -DKILLS=0"
one_link="$power -DHITS=2 -DLINKS=1"
two_links="$power -DHITS=3 -DLOSSES=0 -DLATE=0"

# Name, what is expected of spin, how it searches, and the configuration.
cases() {
    cat <<END
claims sound safety $claims
janitors sound safety $removal
progress sound progress $janitors
lost-journal sound safety $nodes
power-loss sound safety $one_link
power-loss-two-links sound safety $two_links
power-loss-sqlite sound safety $one_link -DLATE=0 -DSQLITE
no-claim-lock fault safety $claims -DNO_CLAIM_LOCK
no-generation fault safety $claims -DNO_GENERATION
word-before-id fault safety $claims -DWORD_FIRST
answer-before-count fault safety $janitors -DANSWER_FIRST
no-journal-lock fault safety $removal -DNO_LOCK
no-write-down fault safety $janitors -DNO_WRITE_DOWN
sent-before-seq fault safety $janitors -DSENT_FIRST
free-without-compare fault safety $janitors -DFREE_ANYWAY
no-token fault safety $janitors -DNO_TOKEN
no-sync fault safety $one_link -DNO_SYNC
mark-last fault safety $janitors -DMARK_LAST
marks-of-another-boot fault safety $one_link -DSAME_BOOT
END
}

# The model must not drift from the sources.
check_names() {
    missing=0
    # In a comment: "hits_flush()".
    for name in $(sed -n 's,^ *\(/\*\| \*\),,p' "$here/hits.pml" |
        grep -o '[a-z][a-z0-9_]*()' | sort -u); do
        name=${name%??}
        if ! grep -rqE --include='*.c' "^[a-z].*[ *]$name\(" "$root/src"; then
            echo "model: hits.pml names $name(), which is not in src" >&2
            missing=1
        fi
    done
    return "$missing"
}

# check NAME EXPECTED SEARCH FLAG...
check() {
    name=$1 expected=$2 search=$3
    shift 3
    # A kill is a rendezvous in an escape: no partial order reduction. Optimizing
    # would take ten times as long as the search.
    compile="-O0 -DNOREDUCE -DMEMLIM=2000"
    run="-m10000 -w20"
    case $search in
    safety) compile="$compile -DSAFETY" ;;
    progress) compile="$compile -DNP" run="$run -l" ;;
    esac
    if [ "$expected" = fault ]; then
        set -- "$@" -DBROKEN
    fi
    mkdir "$work/$name"
    cd "$work/$name"
    # shellcheck disable=SC2086 # lists of flags
    if ! { spin -a "$@" "$here/hits.pml" &&
        gcc -w $compile -o pan pan.c && ./pan $run; } >log 2>&1; then
        cat log >&2
        echo "model: $name: cannot be checked" >&2
        return 1
    fi
    states=$(sed -n 's/ states, stored.*//p' log | tr -d ' ')
    if grep -q 'Search not completed' log && grep -q 'errors: 1$' log; then
        found=fault
    elif grep -q '^Full statespace' log && grep -q 'errors: 0$' log; then
        found=sound
    else
        found=nothing
    fi
    if [ "$found" != "$expected" ]; then
        cat log >&2
        echo "model: $name: $found, expected: $expected" >&2
        return 1
    fi
    echo "model: $name: $found, as expected, $states states"
}

check_names
cases >"$work/cases"
status=0
# As many at a time as there are cores.
jobs=$(nproc)
set --
while read -r name expected search flags; do
    # shellcheck disable=SC2086 # a list of flags
    (check "$name" "$expected" "$search" $flags) &
    set -- "$@" $!
    if [ $# -ge "$jobs" ]; then
        wait "$1" || status=1
        shift
    fi
done <"$work/cases"
for pid in "$@"; do
    wait "$pid" || status=1
done
exit "$status"
