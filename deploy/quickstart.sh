#!/bin/sh
# From a fresh checkout to a working shortener on a local port.
# Run "sh deploy/quickstart.sh --help" for the usage.
#
# Everything it makes is in build-quickstart/ of the checkout:
#
#   build-quickstart/            the build
#   build-quickstart/build.log   what configure and make said
#   build-quickstart/run/        configuration, process ids, port
#   build-quickstart/run/var/    logs, and the links: all that the servers write

set -eu
# Where Debian keeps lighttpd, which an ordinary user's PATH leaves out.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
build=$root/build-quickstart
run=$build/run
var=$run/var
build_log=$build/build.log

FIRST_PORT=8080
LAST_PORT=8179
WORKERS=4
STOP_SECONDS=15
# sun_path has 108 bytes, the terminating zero included.
SOCKET_PATH_MAX=107
TARGET=https://www.debian.org/
create_auth=${CREATE_AUTH:-open}

usage() {
    cat <<'END'
usage: sh deploy/quickstart.sh [--stop]

Installs what is missing with apt-get, builds curt, and starts lighttpd and
the worker pool on a free port of 127.0.0.1 (8080 if it is free), with the
links in SQLite. Creates and follows one link, and opens the page, to prove
that it works.

Run again, it stops what it started before, builds what has changed and
starts anew, with the links kept.

  --stop   stop it; the links stay

CREATE_AUTH=key in the environment: only who has an API key may create links.
Else everyone on this machine may.
END
}

# step TEXT: says what is done now, and what to name when it fails.
step() {
    step=$1
    echo "* $step"
}

# fail HINT [LOG...]: ends with the failed step, the end of the logs and HINT.
fail() {
    hint=$1
    shift
    {
        echo
        echo "quickstart: failed at: ${step:-start}"
        for log in "$@"; do
            [ -s "$log" ] || continue
            echo "--- the end of $log"
            tail -n 15 "$log"
            echo "---"
        done
        echo "quickstart: $hint"
    } >&2
    exit 1
}

# --- packages and accounts

install_packages() {
    step "Debian packages"
    log=$(mktemp)
    if ! sh "$root/deploy/debian-packages.sh" build serve >"$log" 2>&1; then
        fail "fix what is said above (all of it: $log), then run again" \
            "$log"
    fi
    rm -f "$log"
}

# Root over somebody else's checkout goes on as its owner, so that nothing in
# it belongs to root afterwards.
hand_over_to_owner() {
    owner=$(stat -c %u "$root")
    group=$(stat -c %g "$root")
    if [ "$(id -u)" -ne 0 ] || [ "$owner" -eq 0 ]; then
        return
    fi
    as_owner="setpriv --reuid=$owner --regid=$group --clear-groups"
    if $as_owner test -w "$root" -a -x "$root"; then
        exec $as_owner env HOME="$root" sh "$root/deploy/quickstart.sh"
    fi
}

# The servers do not run as root if there is a way: www-data serves a checkout
# that it can reach. Sets $as_user, empty for oneself.
choose_account() {
    as_user=
    [ "$(id -u)" -eq 0 ] || return 0
    if ! id www-data >/dev/null 2>&1; then
        echo "  no account www-data: the servers run as root"
        return
    fi
    as_user="setpriv --reuid=www-data --regid=www-data --init-groups"
    if ! $as_user test -x "$build/curt.fcgi" -a -r "$run/curt.conf"; then
        as_user=
        echo "  www-data cannot reach $build: the servers run as root"
    fi
}

# --- the build

# build_quietly COMMAND...: its output goes to the log.
build_quietly() {
    echo "+ $*" >>"$build_log"
    "$@" >>"$build_log" 2>&1 </dev/null
}

configure_build() {
    if ! [ -e "$root/configure" ]; then
        (cd -- "$root" && build_quietly autoreconf -fi) ||
            fail "autoreconf failed; see $build_log" "$build_log"
    fi
    # A checkout that was moved is configured again.
    if ! [ -e "$build/Makefile" ] ||
        [ "$(cat "$build/configured-in" 2>/dev/null)" != "$root" ]; then
        (cd -- "$build" && build_quietly ../configure) ||
            fail "configure failed; see $build_log" "$build_log"
        echo "$root" >"$build/configured-in"
    fi
}

build_curt() {
    step "Build in $build"
    mkdir -p "$build" || fail "is $root writable for you?"
    true >"$build_log" ||
        fail "made by another user? remove $build and run again"
    if [ -e "$root/config.status" ]; then
        fail "the checkout itself is configured; run 'make distclean' in it"
    fi
    configure_build
    (cd -- "$build" && build_quietly make -j "$(nproc)") ||
        fail "make failed; see $build_log" "$build_log"
}

# --- processes

# is_ours PID FILE: whether PID runs and was started with FILE as an argument.
# A pid file may be older than the last boot and name a stranger.
is_ours() {
    case $1 in
    '' | *[!0-9]*) return 1 ;;
    esac
    tr '\0' '\n' 2>/dev/null <"/proc/$1/cmdline" | grep -qxF -- "$2"
}

# pid_of NAME: the pid of the server NAME if it runs. $run/NAME.conf is what
# it was started with.
pid_of() {
    pid=$(cat "$run/$1.pid" 2>/dev/null) || return 1
    is_ours "$pid" "$run/$1.conf" || return 1
    echo "$pid"
}

stop_server() {
    name=$1
    pid=$(pid_of "$name") || {
        rm -f "$run/$name.pid"
        return 1
    }
    kill -TERM "$pid" 2>/dev/null ||
        fail "no right to stop $name (pid $pid): whose is it?"
    tenths=0
    while is_ours "$pid" "$run/$name.conf"; do
        if [ "$tenths" -eq $((STOP_SECONDS * 10)) ]; then
            echo "  $name (pid $pid) does not end, killing it" >&2
            kill -KILL "$pid" 2>/dev/null || true
        elif [ "$tenths" -eq $((STOP_SECONDS * 20)) ]; then
            fail "$name (pid $pid) does not end"
        fi
        sleep 0.1
        tenths=$((tenths + 1))
    done
    rm -f "$run/$name.pid"
}

# Stops what runs; fails when nothing did.
stop_all() {
    stopped=1
    for name in lighttpd curt; do
        if stop_server "$name"; then
            stopped=0
        fi
    done
    if [ -e "$run/socket-dir" ]; then
        socket_dir=$(cat "$run/socket-dir")
        rm -f "$socket_dir/curt.sock" "$run/socket-dir"
        rmdir "$socket_dir" 2>/dev/null || true
    fi
    return $stopped
}

# start_server NAME COMMAND...: in a session of its own, so that it outlives
# this script and its terminal; with an empty environment, because curt's
# configuration gives way to the environment. The log is opened by the account
# that the server runs as.
start_server() {
    name=$1
    shift
    # shellcheck disable=SC2086,SC2016 # $as_user: several words or none
    setsid $as_user env -i PATH="$PATH" \
        sh -c 'log=$1; shift; exec "$@" >>"$log" 2>&1' sh "$var/$name.log" \
        "$@" </dev/null >/dev/null 2>&1 &
    echo $! >"$run/$name.pid"
}

# --- the configuration

# Whether something listens on the port, on any address.
port_is_taken() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v port="$(printf ':%04X' "$1")" '
            $4 == "0A" && substr($2, length($2) - 4) == port { taken = 1 }
            END { exit !taken }'
}

# The port of last time, so that the links made then still work, else the
# first free one.
choose_port() {
    port=$(cat "$run/port" 2>/dev/null) || port=$FIRST_PORT
    if port_is_taken "$port"; then
        port=$FIRST_PORT
        while port_is_taken "$port"; do
            port=$((port + 1))
            [ "$port" -le "$LAST_PORT" ] ||
                fail "no port of $FIRST_PORT to $LAST_PORT is free"
        done
    fi
    echo "$port" >"$run/port"
    home_url=http://127.0.0.1:$port/
    app_url=${home_url}t/
}

# In $var, unless the checkout is too deep for the name of a socket.
choose_socket() {
    socket=$var/curt.sock
    if [ "$(printf %s "$socket" | wc -c)" -gt "$SOCKET_PATH_MAX" ]; then
        socket_dir=$(mktemp -d /tmp/curt.XXXXXX)
        echo "$socket_dir" >"$run/socket-dir"
        socket=$socket_dir/curt.sock
    fi
    # One that is left over would look as if the pool were up.
    rm -f "$socket"
}

write_curt_conf() {
    cat >"$run/curt.conf" <<END
# Written by deploy/quickstart.sh at each start: changes here get lost.
APP_URL = $app_url
STORE = sqlite
STATE_DIR = "$var/state"
RUNTIME_DIR = "$var/runtime"
# Anyone who reaches the port may create links, which is this machine only.
CREATE_AUTH = $create_auth
LIMITS = off
END
}

# deploy/lighttpd/curt.conf with another socket, and a site around it.
write_lighttpd_conf() {
    sed "s|/run/curt/curt.sock|$socket|" "$root/deploy/lighttpd/curt.conf" \
        >"$run/lighttpd-curt.conf"
    cat >"$run/lighttpd.conf" <<END
# Written by deploy/quickstart.sh at each start: changes here get lost.
server.bind = "127.0.0.1"
server.port = $port
server.document-root = "$var/www"
server.errorlog = "$var/lighttpd.log"
include "lighttpd-curt.conf"
END
}

write_configuration() {
    step "Configuration in $run"
    mkdir -p "$var/runtime" "$var/www"
    mkdir -p -m 0750 "$var/state"
    choose_port
    choose_socket
    write_curt_conf
    write_lighttpd_conf
    choose_account
    own_directories
}

# The account of the last run may have been another.
own_directories() {
    chmod 700 "$var"
    [ "$(id -u)" -eq 0 ] || return 0
    account=root:root
    [ -z "$as_user" ] || account=www-data:www-data
    chown -R "$account" "$var"
    [ -z "${socket_dir:-}" ] || chown "$account" "$socket_dir"
}

# --- start and proof

start_pool() {
    step "Worker pool ($WORKERS processes)"
    # shellcheck disable=SC2086
    $as_user env -i PATH="$PATH" "$build/curt.fcgi" -c "$run/curt.conf" -t \
        >>"$build_log" 2>&1 || fail "curt refuses $run/curt.conf" "$build_log"
    start_server curt spawn-fcgi -n -s "$socket" -M 0600 -b 1024 -- \
        "$build/curt.fcgi" -c "$run/curt.conf" -w "$WORKERS"
    wait_until test -S "$socket"
}

start_lighttpd() {
    step "lighttpd on 127.0.0.1:$port"
    lighttpd -tt -f "$run/lighttpd.conf" >>"$build_log" 2>&1 ||
        fail "lighttpd refuses $run/lighttpd.conf" "$build_log"
    start_server lighttpd lighttpd -D -f "$run/lighttpd.conf"
    wait_until answers
}

# The name of a server that was started and has ended; fails when none has.
dead_server() {
    for pid_file in "$run"/*.pid; do
        name=$(basename "$pid_file" .pid)
        pid_of "$name" >/dev/null || {
            echo "$name"
            return
        }
    done
    return 1
}

# wait_until COMMAND...: for at most 10 seconds, and not when a server died. A
# process has the name of its server only shortly after it was started, so
# deaths count after one second.
wait_until() {
    tenths=0
    until "$@"; do
        tenths=$((tenths + 1))
        if [ "$tenths" -ge 10 ] && dead=$(dead_server); then
            fail "$dead ended at once; its log is $var/$dead.log" \
                "$var/$dead.log"
        elif [ "$tenths" -ge 100 ]; then
            fail "no answer in 10 seconds; the logs are in $var" \
                "$var/lighttpd.log" "$var/curt.log"
        fi
        sleep 0.1
    done
}

# curl without what the user's own settings would change.
plain_curl() {
    curl -q -sS --noproxy '*' --max-time 10 "$@"
}

# Whether curt itself answers: an id that short does not exist.
answers() {
    status=$(plain_curl -o /dev/null -w '%{http_code}' "${app_url}0" \
        2>/dev/null) || return 1
    [ "$status" = 404 ]
}

# With curl, or, where a key is needed, with the operator's command.
create_link() {
    if [ "$create_auth" = open ]; then
        plain_curl -d "{\"long_url\": \"$TARGET\"}" "${home_url}create"
    else
        "$build/curt" -c "$run/curt.conf" create "$TARGET"
    fi
}

prove_it() {
    step "Create a link, follow it, open the page"
    short_url=$(create_link 2>&1) ||
        fail "the create failed: $short_url" "$var/curt.log"
    case $short_url in
    "$app_url"[A-Za-z0-9]*) ;;
    *) fail "the create answered: $short_url" "$var/curt.log" ;;
    esac
    answer=$(plain_curl -o /dev/null -w '%{http_code} %{redirect_url}' \
        "$short_url" 2>&1) ||
        fail "following $short_url failed: $answer" "$var/curt.log"
    if [ "$answer" != "301 $TARGET" ]; then
        fail "$short_url answered '$answer', not '301 $TARGET'" "$var/curt.log"
    fi
    echo "  $short_url -> $TARGET"
    page=$(plain_curl "$home_url" 2>&1) ||
        fail "opening $home_url failed: $page" "$var/curt.log"
    case $page in
    *'<form '*) ;;
    *) fail "$home_url answered: $page" "$var/curt.log" ;;
    esac
}

# A path as one has to type it.
quoted() {
    case $1 in
    *[!A-Za-z0-9/._+-]*) echo "'$1'" ;;
    *) echo "$1" ;;
    esac
}

say_goodbye() {
    if [ "$create_auth" = open ]; then
        with_key=
    else
        with_key="-H 'X-Api-Key: KEY' "
    fi
    cat <<END

curt works. Open it in a browser:

  $home_url

Or use it from here:

  curl $with_key-d '{"long_url": "$TARGET"}' ${home_url}create
  curl -i $short_url
  $(quoted "$build/curt") -c $(quoted "$run/curt.conf") get ${short_url##*/}

Who may create links: $create_auth. To make an API key, and to require one:

  $(quoted "$build/curt") -c $(quoted "$run/curt.conf") key create me
  CREATE_AUTH=key sh $(quoted "$0")

Configuration  $run/curt.conf
               $run/lighttpd.conf
Logs           $var/curt.log
               $var/lighttpd.log
Links          $var/state/curt.db
Stop it        sh $(quoted "$0") --stop
END
}

# --- the two ways to be called

# The build and the servers' configuration know no way to quote these.
check_path() {
    step=path
    newline='
'
    case $root in
    *[\\\"\#\$\&\'\`\|]* | *"$newline"*)
        fail "move $root to a path of plain letters"
        ;;
    esac
}

# What was started when a later step failed does not stay behind.
stop_if_failed() {
    status=$?
    trap - EXIT
    if [ "$status" -ne 0 ]; then
        stop_all || true
    fi
    exit "$status"
}

start() {
    check_path
    install_packages
    hand_over_to_owner
    build_curt
    step "Stop what ran before"
    stop_all || true
    trap stop_if_failed EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    write_configuration
    start_pool
    start_lighttpd
    prove_it
    say_goodbye
}

stop() {
    step="stop"
    if stop_all; then
        echo "curt is stopped. The links stay in $var/state/curt.db."
    else
        echo "Nothing to stop: no curt of this checkout runs."
    fi
}

case $#,${1:-} in
0,) start ;;
1,--stop) stop ;;
1,--help | 1,-h) usage ;;
*)
    usage >&2
    exit 64
    ;;
esac
