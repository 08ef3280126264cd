#!/bin/sh
# Checks the rules of the C sources that a compiler does not know: which file
# may use which library, what is not called at all, and how long things get.
#
# usage: sh tests/check-style.sh [ROOT]
#
# Prints every violation as file:line: text, and exits 1 if there is one.

set -eu
export LC_ALL=C

root=${1:-$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)}
cd -- "$root"

# Which files under src/ may include a library's header: a pattern for the
# header, then the files; a pattern may have several lines. A header of curt's own is never among them, so no
# file comes to a library by way of another.
walls() {
    cat <<'END'
^fcgi(app|_stdio)   tests/bench/plain.c
^curl/              src/http_client.c
^idn2               src/host.c
^zlib               src/aws_reply.c
^expat              src/aws_sts_answer.c
^qrencode           src/qr.c
^png                src/qr.c
^sqlite3            src/store_sqlite.c src/sqlite_backup.c
^sqlite3            src/sqlite_doctor.c
^openssl/           src/ids.c src/trace_id.c src/aws_sign.c
^json-c/            src/json.c src/link.c src/body.c src/http.c
^json-c/            src/ctl.c src/ctl_backup.c src/ctl_link.c src/ctl_table.c
^json-c/            src/doctor.c src/store_dynamodb.c src/dynamodb_item.c
^json-c/            src/dynamodb_table.c
^json-c/            src/aws_client.c src/aws_source.c src/aws_reply.c
END
}

files=$(find src tests -name '*.[ch]' | sort)
if [ -z "$files" ]; then
    echo "check-style: no C file under $root" >&2
    exit 1
fi

# shellcheck disable=SC2086 # no file here has a space in its name
walls | awk '
# The rules that need a line as it is, its code alone (without comments and
# strings), or the place of a function in its file.

BEGIN {
    MAX_COLUMNS = 80
    MAX_FILE = 800
    MAX_FUNCTION = 65
    banned = "(strcpy|strcat|sprintf|strtok|atoi|gmtime|localtime)"
}

function complain(line, text) {
    printf "%s:%d: %s\n", FILENAME, line, text
    bad++
}

# Returns the line without comments and with its literals emptied. A block
# comment may go on from the line before: in_comment.
function code_of(line,    out, c, two, i, quote) {
    out = ""
    quote = ""
    for (i = 1; i <= length(line); i++) {
        c = substr(line, i, 1)
        two = substr(line, i, 2)
        if (in_comment) {
            if (two == "*/") {
                in_comment = 0
                i++
            }
        } else if (quote != "") {
            if (c == "\\")
                i++
            else if (c == quote) {
                quote = ""
                out = out c
            }
        } else if (two == "/*") {
            in_comment = 1
            out = out " "
            i++
        } else if (two == "//")
            break
        else {
            if (c == "\"" || c == "\047")
                quote = c
            out = out c
        }
    }
    return out
}

function check_walls(header,    pattern) {
    for (pattern in wall)
        if (header ~ pattern && index(wall[pattern] " ", " " FILENAME " ") == 0)
            complain(FNR, "<" header "> is not included here, only in" \
                wall[pattern])
}

function check_text() {
    if ($0 ~ /\t/)
        complain(FNR, "tab")
    columns = $0
    gsub(/[\200-\277]/, "", columns)
    if (length(columns) > MAX_COLUMNS)
        complain(FNR, length(columns) " columns, at most " MAX_COLUMNS)
}

function check_code(code) {
    if (match(code, "(^|[^A-Za-z0-9_])" banned "([^A-Za-z0-9_]|$)")) {
        word = substr(code, RSTART, RLENGTH)
        gsub(/[^A-Za-z0-9_]/, "", word)
        complain(FNR, word " is not used in this project")
    }
    if (code ~ /(^|[^A-Za-z0-9_])typedef[ ]+struct([^A-Za-z0-9_]|$)/)
        complain(FNR, "typedef struct: structures go by their own name")
}

# clang-format puts the braces of a function, and of nothing else that ends
# without a semicolon, into the first column.
function check_function(code) {
    if (code ~ /^[{]/)
        opened = FNR
    else if (code ~ /^}[ ]*$/ && opened) {
        if (FNR - opened - 1 > MAX_FUNCTION)
            complain(opened, "function of " FNR - opened - 1 \
                " lines, at most " MAX_FUNCTION)
        opened = 0
    }
}

function end_file() {
    if (last_line > MAX_FILE) {
        printf "%s:%d: file of %d lines, at most %d\n", last_file, \
            last_line, last_line, MAX_FILE
        bad++
    }
}

NR == FNR {
    pattern = $1
    $1 = ""
    wall[pattern] = wall[pattern] $0
    next
}

FNR == 1 {
    end_file()
    last_file = FILENAME
    in_comment = 0
    opened = 0
    checked++
}

{
    last_line = FNR
    check_text()
    if ($0 ~ /^[ ]*#[ ]*include[ ]*[<"]/ && FILENAME ~ /^src\//) {
        split($0, part, /[<">]/)
        check_walls(part[2])
    }
    code = code_of($0)
    check_code(code)
    check_function(code)
}

END {
    end_file()
    if (bad) {
        printf "check-style: %d violations\n", bad
        exit 1
    }
    printf "check-style: %d files keep the rules\n", checked
}
' - $files
