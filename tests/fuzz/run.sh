#!/bin/sh
# Builds the fuzz targets and runs each for a while.
#
# usage: sh tests/fuzz/run.sh [SECONDS [TARGET...]]
#
# SECONDS is for each target, 5 if none are given. A target is the name of a
# file here without fuzz_ and .c, such as url; all of them if none is named.
#
# Needs clang with its runtime (Debian: clang, libclang-rt-14-dev) and what the
# build needs. It builds in $CURT_FUZZ_BUILD, or in a directory that it removes
# again. What was found is kept in $CURT_FUZZ_FOUND (default: ./fuzz-found),
# and belongs into seeds/TARGET once it is fixed. The exit status is 0 when
# nothing was found.

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

modules="json-c libcurl libidn2 libcrypto sqlite3 zlib expat libqrencode libpng
    libpsl"
# What drives a process is no parser.
sources=$(find "$root/src" -name '*.c' ! -path "$root/src/main.c" \
    ! -path '*/tool/*' ! -path '*/process/*' ! -path '*/http/fcgi.c' |
    LC_ALL=C sort)

# Lists of words, no path has a space; the quotes belong to the macros.
# shellcheck disable=SC2086,SC2089
compile="clang -std=c17 -g -O1 -D_GNU_SOURCE -fno-omit-frame-pointer
    -fno-sanitize-recover=undefined -I$root/src
    -DCURT_VERSION=\"fuzz\" -DCURT_SYSCONFDIR=\"/nonexistent\"
    -DCURT_LOCALSTATEDIR=\"/nonexistent\" -DCURT_RUNSTATEDIR=\"/nonexistent\"
    -DCURT_BUILD_TIME=0 $(pkg-config --cflags $modules)"
# shellcheck disable=SC2086
libraries="$(pkg-config --libs $modules) -lunistring"

echo "fuzz: building in $build"
mkdir -p "$build/lib"
rm -f "$build"/lib/*.o
# The pages, as Makefile.am builds them in.
(cd "$root" && sh src/http/pages/embed.sh page_files src/http/pages/*.*) \
    >"$build/page_files.c"
sources="$sources $build/page_files.c"
# Objects are named after folder and file: some files have the same name.
export root compile
# shellcheck disable=SC2016,SC2086
(cd "$build/lib" && printf '%s\0' $sources | xargs -0 -P "$jobs" -n 1 sh -c '
    $compile -fsanitize=fuzzer-no-link,address,undefined -c "$1" \
        -o "$(printf %s "${1#"$root"/src/}" | tr / _).o"' sh)

# fuzz NAME: builds one target and runs it.
fuzz() {
    name=$1
    # shellcheck disable=SC2086,SC2090
    $compile -fsanitize=fuzzer,address,undefined "$here/fuzz_$name.c" \
        "$build"/lib/*.o $libraries -o "$build/fuzz_$name" || return
    mkdir -p "$build/corpus/$name" "$found"
    if ! "$build/fuzz_$name" -max_total_time="$seconds" -timeout=60 \
        -max_len=20000 -artifact_prefix="$found/$name-" -verbosity=0 \
        -print_final_stats=1 "$build/corpus/$name" "$here/seeds/$name" \
        >"$build/$name.log" 2>&1; then
        tail -n 60 "$build/$name.log" >&2
        echo "fuzz: $name: found something; see $found" >&2
        return 1
    fi
    units=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$name.log")
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
