#!/bin/sh
# usage: sh embed.sh ARRAY FILE...
#
# Prints C source of an array of struct page_file with the contents of the
# files, which are named relative to the root of the tree.
#
# A version is a checksum: it changes with the contents, and is the same in
# every build of them.

set -eu

array=$1
shift
table=
number=0
echo '#include "http/page.h"'
for file in "$@"; do
    echo
    echo "static const unsigned char data_$number[] = {"
    od -An -v -tu1 "$file" | sed 's/  *\([0-9][0-9]*\)/\1,/g'
    echo "0};"
    version=$(cksum <"$file" | sed 's/ .*//')
    name=${file#src/http/pages/}
    table="$table
    {\"${name#deploy/}\", (const char *)data_$number, sizeof(data_$number) - 1, $version},"
    number=$((number + 1))
done
cat <<END

const struct page_file $array[] = {$table
    {NULL, NULL, 0, 0},
};
END
