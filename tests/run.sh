#!/bin/sh
# Every test of curt: run "sh tests/run.sh --help" for the usage.

set -eu
export PYTHONDONTWRITEBYTECODE=1

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
build=$root/build-tests
clang_build=$root/build-tests-clang
jobs=$(nproc)

usage() {
    cat <<'END'
usage: sh tests/run.sh [--e2e] [PYTEST-ARGUMENT...]

Installs what the tests need and is missing (apt-get, as root or through
sudo), builds in build-tests/ and build-tests-clang/, and runs

  - the unit and store-contract tests, built with the sanitizers
  - the checks of layout and style
  - a build with clang, and "make distcheck"
  - each fuzz target for some seconds
  - the end-to-end tests, with the sanitizers, against real servers

The arguments go to pytest, such as "-k redirect" or "-x". The exit status is 0
when every step passed.

  --e2e   only the build with the sanitizers and the end-to-end tests
END
}

failed=

# run_step NAME COMMAND...: a step that the later ones do not need.
run_step() {
    name=$1
    shift
    echo
    echo "== $name"
    if ! "$@"; then
        echo "== FAILED: $name" >&2
        failed="$failed${failed:+, }$name"
    fi
}

# need_step NAME COMMAND...: a step without which there is no going on.
need_step() {
    run_step "$@"
    if [ -n "$failed" ]; then
        echo "tests/run.sh: cannot go on after: $failed" >&2
        exit 1
    fi
}

at_most() {
    if [ "$2" -gt "$1" ]; then echo "$1"; else echo "$2"; fi
}

prepare_source() {
    if [ -e "$root/config.status" ]; then
        echo "the checkout itself is configured; run 'make distclean' in it" >&2
        return 1
    fi
    (cd -- "$root" && autoreconf -fi)
}

# configure_and_make DIRECTORY CONFIGURE-ARGUMENT...: in a directory of $root,
# from nothing, so that no result of an earlier run counts. What the tests had
# to download, in cache/, is kept. The test programs are built too, not run.
configure_and_make() (
    directory=$1
    shift
    mkdir -p "$directory" && cd -- "$directory" &&
        find . -mindepth 1 -maxdepth 1 ! -name cache -exec rm -rf {} + &&
        ../configure -q "$@" &&
        make -s -j "$jobs" all &&
        make -s -j "$jobs" check TESTS= >/dev/null
)

unit_tests() {
    make -s -C "$build" -j "$jobs" check VERBOSE=1 </dev/null
}

# With the compiler and the flags that an installation has, from the tarball.
distcheck() {
    make -s -C "$clang_build" -j "$jobs" distcheck VERBOSE=1 \
        DISTCHECK_CONFIGURE_FLAGS="--enable-werror CC=gcc" </dev/null
}

end_to_end_tests() (
    export CURT_BUILD="$build"
    cd -- "$root"
    # Most tests wait more than they compute. Each process has a DynamoDB Local
    # of its own, so there are not many; a file's tests stay together.
    /usr/bin/python3 -m pytest -p no:cacheprovider --durations=30 \
        -n "$(at_most 4 "$jobs")" --dist loadfile tests/e2e "$@"
)

main() {
    only_e2e=
    case ${1:-} in
    --help | -h)
        usage
        exit 0
        ;;
    --e2e)
        only_e2e=yes
        shift
        ;;
    esac

    need_step "Debian packages" \
        sh "$root/deploy/debian-packages.sh" build serve test
    need_step "autoreconf" prepare_source
    need_step "build with gcc and the sanitizers" \
        configure_and_make "$build" --enable-sanitizers --enable-werror CC=gcc
    if [ -z "$only_e2e" ]; then
        run_step "layout of the sources" sh "$root/tests/check-format.sh"
        run_step "style of the sources" sh "$root/tests/check-style.sh"
        run_step "unit and store-contract tests" unit_tests
        run_step "build with clang" \
            configure_and_make "$clang_build" --enable-werror CC=clang
        run_step "make distcheck" distcheck
        run_step "fuzz targets" sh "$root/tests/fuzz/run.sh" 5
    fi
    run_step "end-to-end tests" end_to_end_tests "$@"

    if [ -n "$failed" ]; then
        echo "tests/run.sh: failed: $failed" >&2
        exit 1
    fi
}

main "$@"
