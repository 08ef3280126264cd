/*
 * Percent-encoding (RFC 3986, section 2.1), and the name=value pairs that forms
 * and query strings have in it (application/x-www-form-urlencoded, WHATWG URL
 * standard, section 5.1).
 */
#ifndef CURT_PERCENT_H
#define CURT_PERCENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Whether the len bytes at s begin with a valid %XX. */
bool percent_is_encoded(const char *s, size_t len);

/* Appends the len bytes at s with each %XX decoded once; an invalid %XX stays
 * as it is. */
void percent_decode(struct buf *out, const char *s, size_t len);

/* The same for the name or the value of a pair, in which '+' is a space. */
void percent_decode_form(struct buf *out, const char *s, size_t len);

/* Appends the len bytes at s with all but the unreserved characters (RFC 3986,
 * section 2.3) and those of keep as %XX, in upper case. */
void percent_encode(struct buf *out, const char *s, size_t len,
                    const char *keep);

/* One pair, still encoded; value is NULL where there was no '='. */
struct percent_pair {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

/* Takes the next non-empty pair off the front of the *len bytes at *s; false
 * at the end. Pairs are divided by '&'. */
bool percent_next_pair(const char **s, size_t *len, struct percent_pair *pair);

#endif
