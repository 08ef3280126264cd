#!/bin/sh
# Every test of curt: run "sh tests/run.sh --help" for the usage.

set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
build=$root/build-tests
jobs=$(nproc)
processes=$((jobs < 3 ? jobs + 3 : 5))

# configure and make start hundreds of shells, and would take bash.
export CONFIG_SHELL=/bin/sh

# What Python compiles is kept, out of the sources.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX="$build/cache/python"

# Debian's ccache, where it is installed, by the names of the compilers.
if [ -d /usr/lib/ccache ]; then
    PATH=/usr/lib/ccache:$PATH
    export PATH CCACHE_BASEDIR="$root" CCACHE_NOHASHDIR=1
fi

usage() {
    cat <<'END'
usage: sh tests/run.sh [--quick | --e2e] [PYTEST-ARGUMENT...]

Installs what the tests need and is missing (apt-get, as root or through
sudo), builds in build-tests/, and runs

  - the unit and store-contract tests, built with the sanitizers
  - the checks of layout and style
  - "make distcheck", with clang, and each fuzz target for a second
  - the model of the hit journal, with spin
  - the end-to-end tests, with the sanitizers, against real servers

The arguments go to pytest, such as "-k redirect" or "-x". The exit status is 0
when every step passed. It takes about 12 minutes on a machine with 2 cores: all
other steps run beside the end-to-end tests, which often wait.

  --quick  about 3 minutes: compiles only what has changed in build-tests/;
           the unit and store-contract tests, the checks of layout and style,
           and the end-to-end tests that tests/e2e/quick.txt names
  --e2e    only the build with the sanitizers and the end-to-end tests
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

# What only the tests need is installed during the build, unless sudo has to ask
# for a password. An installation ends well even if this script does not.
start_packages() {
    set -- build check
    if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
        set -- "$@" serve test
    fi
    need_step "Debian packages to build" \
        sh "$root/deploy/debian-packages.sh" "$@"
    mkdir -p "$build/cache"
    sh "$root/deploy/debian-packages.sh" serve test </dev/null \
        >"$build/cache/packages.log" 2>&1 &
    packages=$!
}

# Once more if it failed, now in sight.
end_packages() {
    wait "$packages" || true
    cat "$build/cache/packages.log"
    sh "$root/deploy/debian-packages.sh" serve test
}

prepare_source() {
    if [ -e "$root/config.status" ]; then
        echo "the checkout itself is configured; run 'make distclean' in it" >&2
        return 1
    fi
    if [ "$mode" = quick ] && [ -e "$root/configure" ]; then
        return
    fi
    (cd -- "$root" && autoreconf -fi)
}

# The steps that need only the build, and do not mind how busy the machine is:
# the tests wait for states, not for times.
other_steps() {
    run_step "unit and store-contract tests" unit_tests
    run_step "layout of the sources" sh "$root/tests/check-format.sh"
    run_step "style of the sources" sh "$root/tests/check-style.sh"
    if [ "$mode" = full ]; then
        run_step "make distcheck and the fuzz targets, with clang" distcheck
        run_step "model of the hit journal" sh "$root/tests/model/run.sh"
    fi
}

# Starts them in a process group of their own, which ends with this process.
start_other_steps() {
    setsid sh "$root/tests/run.sh" --others >"$build/others.log" 2>&1 &
    others=$!
    trap 'kill -- "-$others" 2>/dev/null || true' EXIT
    trap 'exit 1' HUP INT TERM
}

# Waits for them, and shows what they wrote and which of them failed.
end_other_steps() {
    status=0
    wait "$others" || status=$?
    trap - EXIT HUP INT TERM
    cat "$build/others.log"
    if [ "$status" -ne 0 ]; then
        failed="$failed${failed:+, }$(sed -n 's/^== FAILED: //p' \
            "$build/others.log" | paste -s -d , -)"
    fi
}

# In $build, from nothing, so that no result of an earlier run counts; a quick run
# keeps what is there. What the tests had to download, in cache/, is kept. The
# test programs are built too, not run, and as fast as can be. With -O2 the
# compiler takes half as long again; with static libraries curt starts in half the
# time, and the tests start it thousands of times.
sanitizer_build() (
    mkdir -p "$build" && cd -- "$build" || exit
    static="-static-libasan -static-libubsan"
    if [ "$mode" != quick ] || ! [ -e Makefile ]; then
        find . -mindepth 1 -maxdepth 1 ! -name cache \
            -exec chmod -R u+w {} + -exec rm -rf {} + || exit
        sh "$root/tests/static-libs.sh" cache/lib &
        ../configure -q --enable-sanitizers --enable-werror CC=gcc \
            CFLAGS="-g1 -O1" LDFLAGS="$static" && wait "$!" || exit
    fi
    make -s -j "$jobs" all LDFLAGS="$static -no-pie -L$build/cache/lib" &&
        make -s -j "$jobs" check TESTS= \
            CFLAGS="-g1 -O0 -fno-sanitize=undefined" >/dev/null
)

unit_tests() {
    make -s -C "$build" -j "$jobs" check VERBOSE=1 </dev/null
}

# From the tarball and with clang, for its warnings; a test builds the package
# from a tarball too, with the flags of an installation. The fuzz targets use the
# same build: what they find in a second is what was broken lately. The test
# programs are not built once more; no file of theirs may be missing.
distcheck() {
    clang="--enable-werror --enable-sanitizers --disable-dependency-tracking"
    CURT_FUZZ_FOUND=${CURT_FUZZ_FOUND:-$PWD/fuzz-found} XZ_OPT=-0 \
        make -s -C "$build" -j "$jobs" distcheck FUZZ_SECONDS=1 \
        TESTS= check_PROGRAMS= check_LIBRARIES= check_DATA= \
        DISTCHECK_CONFIGURE_FLAGS="$clang CC=clang \
            CFLAGS='-O0 -fsanitize=fuzzer-no-link'" </dev/null || return
    tarball=$(tar -tf "$build"/curt-*.tar.xz | sed 's,^[^/]*/,,')
    if missing=$(cd -- "$root" && find tests -name '*.[ch]' |
        grep -vxF "$tarball"); then
        echo "not in the tarball; see Makefile.am:" "$missing" >&2
        return 1
    fi
}

# Most tests wait more than they compute. Each process has a DynamoDB Local of
# its own.
end_to_end_tests() (
    export CURT_BUILD="$build"
    cd -- "$root"
    if [ "$mode" = quick ]; then
        set -- --quick "$@"
    else
        set -- --durations=30 "$@"
    fi
    # Compiles the tests, which each process would do.
    /usr/bin/python3 -m pytest -p no:cacheprovider -q --collect-only tests/e2e \
        >/dev/null || true
    /usr/bin/python3 -m pytest -p no:cacheprovider -n "$processes" \
        --dist loadfile tests/e2e "$@"
)

main() {
    mode=full
    case ${1:-} in
    --help | -h)
        usage
        exit 0
        ;;
    --others) # of start_other_steps
        other_steps
        test -z "$failed"
        exit
        ;;
    --e2e | --quick)
        mode=${1#--}
        shift
        ;;
    esac

    start_packages
    need_step "autoreconf" prepare_source
    need_step "build with gcc and the sanitizers" sanitizer_build
    need_step "Debian packages to test" end_packages
    case $mode in
    quick) other_steps ;;
    full) start_other_steps ;;
    esac
    rm -f "$build/e2e.counts"
    run_step "end-to-end tests" end_to_end_tests "$@"
    if [ "$mode" = full ]; then
        end_other_steps
    fi
    if [ -e "$build/e2e.counts" ]; then
        echo "== end-to-end tests: $(cat "$build/e2e.counts")"
    fi

    if [ -n "$failed" ]; then
        echo "tests/run.sh: failed: $failed" >&2
        exit 1
    fi
}

main "$@"
