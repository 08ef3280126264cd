#!/bin/sh
# Prints C source with the contents of the files named, for page_file().
#
# A version is a checksum: it changes with the contents, and is the same in
# every build of them.

set -eu

table=
number=0
echo '#include "http/page.h"'
for file in "$@"; do
    echo
    echo "static const unsigned char data_$number[] = {"
    od -An -v -tu1 "$file" | sed 's/  *\([0-9][0-9]*\)/\1,/g'
    echo "0};"
    version=$(cksum <"$file" | sed 's/ .*//')
    table="$table
    {\"$(basename "$file")\", (const char *)data_$number, sizeof(data_$number) - 1, $version},"
    number=$((number + 1))
done
cat <<END

const struct page_file page_files[] = {$table
    {NULL, NULL, 0, 0},
};
END
