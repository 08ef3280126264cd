#!/bin/sh
# Builds the Debian package from a checkout, or from the tarball of "make dist".
#
# usage: sh deploy/debian-package.sh [TARBALL [DIRECTORY]]
#
# The package is DIRECTORY/curt_VERSION_ARCHITECTURE.deb; DIRECTORY is
# build-package/ in the checkout if it is not named, and is emptied first.
# Packages that the build needs are installed (deploy/debian-packages.sh).

set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
top=${2:-$root/build-package}

sh "$root/deploy/debian-packages.sh" build package
rm -rf "$top"
mkdir -p "$top"
top=$(CDPATH='' cd -- "$top" && pwd -P)

tarball=${1:-}
if [ -z "$tarball" ]; then
    (cd -- "$root" && autoreconf -fi)
    mkdir "$top/dist"
    (cd -- "$top/dist" && "$root/configure" -q && make -s dist)
    tarball=$(echo "$top"/dist/curt-*.tar.xz)
fi

version=${tarball##*/curt-}
version=${version%.tar.xz}
cp -- "$tarball" "$top/curt_$version.orig.tar.xz"
cd -- "$top"
rm -rf dist
tar xf "curt_$version.orig.tar.xz"
cd "curt-$version"
cp -R deploy/debian debian
DEB_BUILD_PROFILES=nocheck \
    DEB_BUILD_OPTIONS="nocheck noautodbgsym parallel=$(nproc)" \
    dpkg-buildpackage -us -uc
echo
ls "$top"/curt_*.deb
