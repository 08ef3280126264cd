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
# and belongs into seeds/TARGET once it is mended. The exit status is 0 when
# nothing was found.

set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
root=${here%/tests/fuzz}
seconds=${1:-5}
[ $# -gt 0 ] && shift
found=${CURT_FUZZ_FOUND:-$PWD/fuzz-found}

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

modules="json-c libcurl libidn2 libcrypto sqlite3 zlib expat libqrencode libpng"
# What drives a process is no parser.
sources=$(find "$root/src" -name '*.c' ! -name main.c ! -name 'ctl*.c' \
    ! -name master.c ! -name worker.c ! -name janitor.c ! -name fcgi.c |
    LC_ALL=C sort)

# shellcheck disable=SC2046,SC2086 # lists of words, and no path has a space
compile() {
    clang -std=c17 -g -O1 -D_GNU_SOURCE -fno-omit-frame-pointer \
        -fno-sanitize-recover=undefined -I"$root/src" \
        -DCURT_VERSION='"fuzz"' -DCURT_SYSCONFDIR='"/nonexistent"' \
        -DCURT_LOCALSTATEDIR='"/nonexistent"' \
        -DCURT_RUNSTATEDIR='"/nonexistent"' \
        -DCURT_BUILD_TIME=0 \
        $(pkg-config --cflags $modules) "$@"
}

echo "fuzz: building in $build"
mkdir -p "$build/lib"
rm -f "$build"/lib/*.o
# The pages, as Makefile.am builds them in.
(cd "$root" && sh src/pages/embed.sh src/pages/*.*) >"$build/page_files.c"
sources="$sources $build/page_files.c"
# shellcheck disable=SC2086
(cd "$build/lib" && compile -fsanitize=fuzzer-no-link,address,undefined \
    -c $sources)

status=0
for name in "$@"; do
    # shellcheck disable=SC2046,SC2086
    compile -fsanitize=fuzzer,address,undefined "$here/fuzz_$name.c" \
        "$build"/lib/*.o $(pkg-config --libs $modules) -o "$build/fuzz_$name"
    mkdir -p "$build/corpus/$name" "$found"
    echo "fuzz: $name for $seconds s"
    if ! "$build/fuzz_$name" -max_total_time="$seconds" -timeout=60 \
        -max_len=20000 -artifact_prefix="$found/$name-" -verbosity=0 \
        -print_final_stats=1 "$build/corpus/$name" "$here/seeds/$name" \
        >"$build/$name.log" 2>&1; then
        status=1
        tail -n 60 "$build/$name.log" >&2
        echo "fuzz: $name: found something; see $found" >&2
    else
        grep -E 'number_of_executed_units|new_units_added' "$build/$name.log"
    fi
done
rmdir "$found" 2>/dev/null || true
exit "$status"
