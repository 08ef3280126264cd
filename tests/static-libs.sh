#!/bin/sh
# Makes a directory for the linker's -L, in which -lcurl and the others are
# Debian's static libraries: run "sh tests/static-libs.sh DIRECTORY".
#
# Half of what the start of a program with the sanitizers costs are its 41
# shared libraries, and the tests start thousands of them. Link with -no-pie as
# well, and only curt and curt.fcgi: a unit test has its own RAND_bytes(). Of
# the libraries that only libcurl needs, for protocols that curt does not use,
# there are functions that abort. What has no static library stays shared; where
# nothing can be linked, the directory is empty.

set -eu

dir=$1
rm -rf "$dir"
mkdir -p "$dir"

# Prints the path of a library, which gcc knows.
path_of() {
    path=$(gcc -print-file-name="$1")
    case $path in
    /*) echo "$path" ;;
    *) return 1 ;;
    esac
}

# put NAME WORD...: a linker script with the static library and what it needs.
put() {
    name=$1
    shift
    if archive=$(path_of "lib$name.a"); then
        echo "GROUP($archive $*)" >"$dir/lib$name.a"
    fi
}

# The functions of libraries, of which an archive uses some, as C.
unused_functions() {
    archive=$1
    shift
    nm -D --defined-only "$@" | sed -n 's/.* [A-Z] \([^@]*\).*/\1/p' |
        sort -u >"$dir/defined"
    nm -u "$archive" 2>/dev/null | sed -n 's/^ *U //p' | sort -u |
        comm -12 "$dir/defined" - |
        sed -e 's/^libssh2_\(init\|exit\)$/int &(void) { return 0; }/' -e t \
            -e 's/.*/void &(void) { __builtin_trap(); }/'
}

# What libcurl needs is in the dynamic section of the shared one.
put_curl() {
    unused='' used=''
    for file in $(objdump -p "$(path_of libcurl.so)" |
        sed -n 's/^ *NEEDED *//p'); do
        name=${file%%.so*}
        case $name in
        libc | ld-linux*) ;;
        librtmp | libssh2 | libgssapi_krb5 | libldap* | liblber*)
            unused="$unused $(path_of "$file")"
            ;;
        *)
            if [ -e "$dir/$name.a" ]; then
                used="$used -l${name#lib}"
            else
                used="$used $(path_of "$file")"
            fi
            ;;
        esac
    done
    # shellcheck disable=SC2086 # words
    unused_functions "$(path_of libcurl.a)" $unused |
        gcc -w -c -o "$dir/unused.o" -xc -
    put curl "$used" "$dir/unused.o"
}

put json-c
put expat
put sqlite3 -lm
put z
put png16 -lz -lm
put unistring
put idn2 -lunistring
put psl -lidn2 -lunistring
put crypto
put ssl -lcrypto
put brotlicommon
put brotlidec -lbrotlicommon
put_curl

if ! echo 'int main(void) { return curl_global_init(3L); }' |
    gcc -w -no-pie -o "$dir/program" -xc - "-L$dir" -lcurl -ljson-c -lsqlite3 \
        -lexpat -lpng16 -lpsl || ! "$dir/program"; then
    echo "tests/static-libs.sh: the libraries stay shared" >&2
    rm -rf "${dir:?}"/*
fi
