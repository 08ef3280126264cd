/*
 * What checks have found: lines, each ok, warn or fail, with what to do.
 * The code that checks adds lines, its caller prints them.
 */
#ifndef CURT_REPORT_H
#define CURT_REPORT_H

#include <stddef.h>

#include "base/buf.h"

enum report_level { REPORT_OK, REPORT_WARN, REPORT_FAIL };

struct report_line {
    enum report_level level;
    char *check;  /* one or two words in lower case: "clock" */
    char *detail; /* what was found */
    char *advice; /* what to do; NULL: nothing */
};

/* Begins as zeros. */
struct report {
    struct report_line *lines;
    size_t count;
    enum report_level worst; /* of all lines */
};

/* Releases all lines. */
void report_free(struct report *r);

/* Adds a line. check and advice are copied; advice may be NULL; the rest is the
 * detail. Line ends become spaces, other control characters and bytes that are
 * not UTF-8 \xNN; a text ends after 8 KiB. */
void report_add(struct report *r, enum report_level level, const char *check,
                const char *advice, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Adds a line for an error text of this program. The part after its last "; ",
 * which says how to fix the fault, becomes the advice; without one it is the
 * advice given here, which may be NULL. */
void report_add_error(struct report *r, enum report_level level,
                      const char *check, const char *advice, const char *error);

#endif
