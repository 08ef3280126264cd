#!/bin/sh
# Builds the fuzz targets and runs each for a while.
#
# usage: sh tests/fuzz/run.sh [SECONDS [TARGET...]]
#
# SECONDS is for each target, 5 if none are given. A target is the name of a
# file here without fuzz_ and .c, such as url; all of them if none is named.
#
# Needs clang with its runtime (Debian: clang, libclang-rt-14-dev), what the build
# needs, and `autoreconf -fi`. It builds libcurt.a with configure and $CFLAGS
# (default: -g -O1) in $CURT_FUZZ_BUILD, or in a directory that it removes again;
# a build with these flags may be there already, as in "make distcheck".
# What was found is kept in $CURT_FUZZ_FOUND (default: ./fuzz-found), and belongs
# into seeds/TARGET once it is fixed. The exit status is 0 when nothing was found.

set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
root=${here%/tests/fuzz}
seconds=${1:-5}
[ $# -gt 0 ] && shift
found=${CURT_FUZZ_FOUND:-$PWD/fuzz-found}
jobs=$(nproc)

if [ $# -eq 0 ]; then
    for file in "$here"/fuzz_*.c; do
        name=${file##*/fuzz_}
        set -- "$@" "${name%.c}"
    done
fi

if [ -n "${CURT_FUZZ_BUILD:-}" ]; then
    build=$CURT_FUZZ_BUILD
    mkdir -p "$build"
else
    build=$(mktemp -d)
    trap 'rm -rf "$build"' EXIT
    trap 'exit 1' HUP INT TERM
fi

flags="${CFLAGS:--g -O1} -fsanitize=fuzzer-no-link"
if ! [ -e "$build/Makefile" ]; then
    echo "fuzz: building in $build"
    (cd "$build" && "$root/configure" -q --enable-sanitizers --enable-werror \
        CC=clang CFLAGS="$flags")
fi
make -s -C "$build" -j "$jobs" libcurt.a

# make_target NAME: as the build makes a program of libcurt.a.
make_target() {
    make -s -C "$build" -f - "fuzz/$1" <<END
include Makefile
fuzz/$1: $here/fuzz_$1.c libcurt.a
	\$(COMPILE) -fsanitize=fuzzer \$< \$(AM_LDFLAGS) \$(LIBCURT_LIBS) -o \$@
END
}

# fuzz NAME: builds one target and runs it.
fuzz() {
    name=$1
    mkdir -p "$build/fuzz/corpus/$name" "$found"
    make_target "$name" || return
    if ! "$build/fuzz/$name" -max_total_time="$seconds" -timeout=60 \
        -max_len=20000 -artifact_prefix="$found/$name-" -verbosity=0 \
        -print_final_stats=1 "$build/fuzz/corpus/$name" "$here/seeds/$name" \
        >"$build/fuzz/$name.log" 2>&1; then
        tail -n 60 "$build/fuzz/$name.log" >&2
        echo "fuzz: $name: found something; see $found" >&2
        return 1
    fi
    units=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/fuzz/$name.log")
    echo "fuzz: $name: $units inputs in $seconds s"
}

# As many at a time as there are cores.
status=0
while [ $# -gt 0 ]; do
    pids=
    while [ $# -gt 0 ] && [ "$(echo "$pids" | wc -w)" -lt "$jobs" ]; do
        fuzz "$1" &
        pids="$pids $!"
        shift
    done
    for pid in $pids; do
        wait "$pid" || status=1
    done
done
rmdir "$found" 2>/dev/null || true
exit "$status"
