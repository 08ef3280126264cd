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
# header, then the files; a pattern may have several lines.
walls() {
    cat <<'END'
^fcgi(app|_stdio)   tests/bench/plain.c
^curl/              src/aws/http_client.c
^idn2               src/link/host.c
^libpsl             src/service/hostlist.c
^unictype           src/link/host.c
^zlib               src/aws/reply.c src/service/access.c
^expat              src/aws/sts.c
^qrencode           src/link/qr.c
^png                src/link/qr.c
^sqlite3            src/store/sqlite/sqlite.c src/store/sqlite/backup.c
^sqlite3            src/store/sqlite/doctor.c
^openssl/           src/base/digest.c
^openssl/           src/link/ids.c src/http/trace_id.c src/aws/sign.c
^openssl/           src/service/access.c
^json-c/            src/base/json.c src/link/link.c src/service/lookup.c
^json-c/            src/service/access.c src/tool/key.c
^json-c/            src/store/sqlite/sqlite.c
^json-c/            src/service/create.c
^json-c/            src/http/h_create.c
^json-c/            src/http/body.c src/http/http.c src/doctor/doctor.c
^json-c/            src/tool/main.c src/tool/backup.c src/tool/link.c
^json-c/            src/service/plans.c src/tool/plan.c
^json-c/            src/tool/table.c src/store/dynamodb/dynamodb.c
^json-c/            src/tool/setup.c
^json-c/            src/store/dynamodb/item.c src/store/dynamodb/table.c
^json-c/            src/aws/client.c src/aws/source.c src/aws/reply.c
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
    MAX_FILE = 1000
    MAX_FUNCTION = 65
    layers = "base link config aws store service http doctor tool"
    for (i = split(layers, layer); i > 0; i--)
        rank[layer[i]] = i
    rank["process"] = rank["tool"]
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

# A folder of src/ is a layer. A file includes its own layer and those below;
# src/main.c is above all of them.
function check_layer(header,    from, to) {
    if (header !~ /\//) {
        complain(FNR, "\"" header "\": includes name the folder in src/")
        return
    }
    if (split(FILENAME, from, "/") < 3)
        return
    split(header, to, "/")
    if (!(from[2] in rank) || !(to[1] in rank))
        complain(FNR, "\"" header "\": the folder is not one of the layers")
    else if (to[1] != from[2] && rank[to[1]] >= rank[from[2]])
        complain(FNR, "\"" header "\": " from[2] "/ is not above " to[1] "/")
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
        if ($0 ~ /"/)
            check_layer(part[2])
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
