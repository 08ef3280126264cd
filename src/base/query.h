/*
 * name=value pairs as forms and query strings have them
 * (application/x-www-form-urlencoded, WHATWG URL standard, section 5.1).
 */
#ifndef CURT_QUERY_H
#define CURT_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Appends s decoded as a form's name or value: percent-encoding, and '+' for a
 * space. */
void query_form_decode(struct buf *out, const char *s, size_t len);

/* One pair, still encoded; value is NULL where there was no '='. */
struct query_pair {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

/* Takes the next non-empty pair off the front of the *len bytes at *s; false
 * at the end. Pairs are divided by '&'. */
bool query_next(const char **s, size_t *len, struct query_pair *pair);

#endif
