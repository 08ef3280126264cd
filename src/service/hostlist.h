/*
 * The lists of hosts: BLOCKED_HOSTS and ALLOWED_HOSTS.
 *
 * A list is a text file, one host a line, with comments after '#':
 *
 *     example.com       this host and all below it; only this host where it is
 *                       a public suffix (publicsuffix.org), such as co.uk
 *     *.example.com     all below it
 *     192.0.2.1, [2001:db8::1]   an address
 *
 * It is compiled into RUNTIME_DIR/blocked-hosts or allowed-hosts: a table of
 * keyed 64-bit hashes with open addressing, which all processes map. The
 * janitor does that when the text file has changed, while the workers use the
 * old table; a process that finds no table, or one that is out of date when it
 * opens it first, does it itself, under a lock.
 */
#ifndef CURT_HOSTLIST_H
#define CURT_HOSTLIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"
#include "config/conf.h"

enum hostlist_kind { HOSTLIST_BLOCKED, HOSTLIST_ALLOWED, HOSTLIST_KINDS };

/* A list as one process has it; zeros at first. */
struct hostlist {
    struct hostlist_table *table; /* mapped; NULL: none */
    uint64_t inode;               /* of its file */
    int64_t look_ms;              /* when a new table is looked for */
    int64_t retry_ms;             /* when compiling is tried again */
    bool failed;                  /* the last time */
};

/* Gives back HOSTLIST_KINDS lists, which can be used again. */
void hostlist_close_all(struct hostlist *lists);

/* The value of BLOCKED_HOSTS or ALLOWED_HOSTS, or NULL. */
const char *hostlist_path(const struct conf *conf, enum hostlist_kind kind);

/* Looks for a host, as host_normalise() makes it, in a list that is configured.
 * RESULT_NOT_FOUND: it is not in it. RESULT_UNAVAILABLE: there is no list, and
 * none can be compiled (logged once). */
enum result hostlist_find(struct hostlist *l, const struct conf *conf,
                          enum hostlist_kind kind, const char *host) MUST_CHECK;

/* For the janitor, once a second: compiles the lists whose text has changed.
 * lists: HOSTLIST_KINDS of them. */
void hostlist_tend(struct hostlist *lists, const struct conf *conf);

/* Reads a list without compiling it, and appends a line for each of its faults.
 * RESULT_NOT_FOUND: none is configured. RESULT_UNAVAILABLE: its file cannot be
 * read. RESULT_OK: *count hosts; the faults, if any, are lines that do not
 * count. */
enum result hostlist_check(const struct conf *conf, enum hostlist_kind kind,
                           size_t *count, struct buf *faults) MUST_CHECK;

/* Takes one line of a list (len bytes, any) apart: the name or address in the
 * form of host_normalise(), without a final dot, is appended to name, and
 * *below is whether it began with "*.". False: it is not a host. A line without
 * one leaves name empty. */
bool hostlist_parse(const char *line, size_t len, struct buf *name,
                    bool *below) MUST_CHECK;

#endif
