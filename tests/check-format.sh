#!/bin/sh
# Checks that every C file is laid out as .clang-format says.
#
# usage: sh tests/check-format.sh [ROOT]
#
# Another version lays out differently; Debian 12 has 14, as clang-format-14.

set -eu

root=${1:-$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)}
cd -- "$root"

if command -v clang-format-14 >/dev/null 2>&1; then
    tool=clang-format-14
else
    tool=clang-format
fi

files=$(find src tests -name '*.[ch]' | LC_ALL=C sort)
if [ -z "$files" ]; then
    echo "check-format: no C file under $root" >&2
    exit 1
fi

# shellcheck disable=SC2086 # no file here has a space in its name
if ! "$tool" --style=file --dry-run -Werror $files; then
    echo "check-format: repair with: $tool -i FILE" >&2
    exit 1
fi
echo "check-format: $(echo "$files" | wc -l) files are well laid out"
