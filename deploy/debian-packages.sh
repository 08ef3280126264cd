#!/bin/sh
# Installs the Debian packages that curt needs and that are missing.
# Run "sh deploy/debian-packages.sh --help" for the usage.

set -eu

usage() {
    cat <<'END'
usage: sh deploy/debian-packages.sh SET...

Installs the packages of the named sets that are not installed yet, as root
or through sudo. Asks nothing. The services that come with them are not
started, now or at boot; a service that was there before is left as it is.

  build   to build curt
  serve   to run it behind lighttpd
  check   to build its unit tests, together with "build"
  package to build a Debian package of it, together with "build"
  test    to run its tests, together with the others
END
}

# Written "a|b" where one installed package of several is enough. The first
# is the one to install; some of the others cannot be installed beside it.
packages_of() {
    case $1 in
    build)
        echo gcc libc6-dev make autoconf automake "pkg-config|pkgconf" \
            libjson-c-dev libssl-dev libsqlite3-dev \
            zlib1g-dev libexpat1-dev libidn2-dev \
            libqrencode-dev libpng-dev libpsl-dev libunistring-dev \
            "libcurl4-openssl-dev|libcurl4-gnutls-dev|libcurl4-nss-dev" \
            ca-certificates
        ;;
    serve)
        echo lighttpd spawn-fcgi curl publicsuffix
        ;;
    check)
        echo libcmocka-dev
        ;;
    package)
        echo debhelper dpkg-dev fakeroot
        ;;
    test)
        echo clang clang-format-14 libclang-rt-14-dev libfcgi-dev \
            apache2 libapache2-mod-fcgid multiwatch \
            "nginx-light|nginx|nginx-core|nginx-full|nginx-extras" \
            default-jre-headless chromium-headless-shell mandoc sqlite3 \
            strace procps xz-utils python3 python3-pytest python3-pytest-xdist \
            python3-boto3 python3-requests \
            python3-yaml openssl zbar-tools librsvg2-bin zsh dbus systemd \
            systemd-container haproxy knot knot-dnsutils libfcgi-bin nsd \
            python3-dnspython spin debhelper dpkg-dev fakeroot lintian pebble \
            certbot lighttpd-mod-openssl socat
        # The Node.js of whoever brought their own is as good.
        command -v npm >/dev/null 2>&1 || echo nodejs npm
        ;;
    *)
        die "unknown set '$1' (build, serve, check, package, test)"
        ;;
    esac
}

# Services that start when their package is installed, by the names of their
# programs in /usr/sbin, without a "d" at the end where the service has none.
SERVICES="lighttpd apache2 nginx haproxy knot nsd"
POLICY=/usr/sbin/policy-rc.d
POLICY_MARK="made by curt's deploy/debian-packages.sh"
LISTS=/var/lib/apt/lists

die() {
    echo "debian-packages: $*" >&2
    exit 1
}

# Prints the package to install for each "a|b|c" of the sets of which none is
# installed.
missing_of() {
    packages=
    for set in "$@"; do
        packages="$packages $(packages_of "$set")" || exit 1
    done
    dpkg-query -W -f='${db:Status-Status} ${Package}\n' 2>/dev/null |
        awk -v packages="$packages" '
            $1 == "installed" { installed[$2] = 1 }
            END {
                for (i = split(packages, choice, " "); i > 0; i--) {
                    missing = 1
                    for (k = split(choice[i], name, "|"); k > 0; k--)
                        if (name[k] in installed)
                            missing = 0
                    if (missing)
                        print name[1]
                }
            }'
}

# shellcheck disable=SC2086 # $missing: one package name each
# Goes on as root through sudo, which may ask for a password on a terminal.
become_root() {
    if [ "$(id -u)" -eq 0 ]; then
        return
    fi
    if ! command -v sudo >/dev/null 2>&1; then
        die "run this as root, or install these first:" $missing
    fi
    if ! sudo -n true 2>/dev/null && ! [ -t 0 ]; then
        die "sudo wants a password; run this on a terminal or as root," \
            "or install these first:" $missing
    fi
    exec sudo sh "$0" "$@"
}

# invoke-rc.d and deb-systemd-invoke start nothing while this file says 101.
# One that is there already is somebody's wish, and is left alone; one of
# ours can only be left over from a run that was killed.
forbid_starts() {
    if [ -e "$POLICY" ] && ! grep -q "$POLICY_MARK" "$POLICY"; then
        return
    fi
    printf '#!/bin/sh\n# %s\nexit 101\n' "$POLICY_MARK" >"$POLICY"
    chmod 755 "$POLICY"
}

allow_starts() {
    if [ -e "$POLICY" ] && grep -q "$POLICY_MARK" "$POLICY"; then
        rm -f "$POLICY"
    fi
}

# What the package manager enabled for the next boot is switched off again,
# for the services named, where they came with this run.
disable_new_services() {
    for service in $absent_before; do
        if [ -e "/etc/init.d/$service" ]; then
            update-rc.d "$service" disable >/dev/null 2>&1 ||
                echo "debian-packages: could not disable $service" >&2
        fi
    done
}

finish() {
    allow_starts
    disable_new_services
}

# The lists are fetched when there are none or they are older than a day. A
# foreign repository that does not answer is no reason to give up.
refresh_lists() {
    if [ "${1:-}" != force ] &&
        [ -n "$(find "$LISTS" -maxdepth 1 -name '*Packages*' -mtime -1 \
            2>/dev/null | head -n 1)" ]; then
        return
    fi
    apt-get -q update </dev/null ||
        echo "debian-packages: apt-get update failed, going on" >&2
}

# --no-remove: nothing that is installed may have to go for this.
apt_install() {
    apt-get -q -y --no-install-recommends --no-remove \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
        install "$@" </dev/null
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
        APT_LISTCHANGES_FRONTEND=none
    refresh_lists
    if ! apt_install "$@"; then
        echo "debian-packages: trying again with fresh lists" >&2
        refresh_lists force
        apt_install "$@" || die "apt-get could not install:" "$@"
    fi
}

main() {
    case ${1:-} in
    --help | -h)
        usage
        exit 0
        ;;
    '')
        usage >&2
        exit 64
        ;;
    esac
    if ! command -v apt-get >/dev/null 2>&1; then
        die "no apt-get here: this is for Debian and its relatives." \
            "Elsewhere, install what README.md lists and build by hand."
    fi
    missing=$(missing_of "$@") || exit 1
    if [ -z "$missing" ]; then
        exit 0
    fi
    become_root "$@"

    absent_before=
    for service in $SERVICES; do
        [ -x "/usr/sbin/$service" ] || [ -x "/usr/sbin/${service}d" ] ||
            absent_before="$absent_before $service"
    done
    trap finish EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    forbid_starts
    # shellcheck disable=SC2086 # one package name each
    install_packages $missing
}

main "$@"
