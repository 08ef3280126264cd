/*
 * JSON's grammar (RFC 8259), read strictly. json-c by itself accepts what is
 * not JSON even when it is told to be strict: NaN, 01, 1., control characters
 * in strings, overlong UTF-8; it makes U+FFFD of half a surrogate pair; and it
 * cuts a member's name at \u0000.
 */
#ifndef CURT_JSON_TEXT_H
#define CURT_JSON_TEXT_H

#include <stddef.h>

/* Levels of arrays and objects, json-c's own default. */
#define JSON_TEXT_LEVELS 32

/* NULL if the len bytes at s, a NUL after them, are one JSON value of at most
 * JSON_TEXT_LEVELS levels, in which no member's name has a NUL and no string
 * half of a surrogate pair. Otherwise a sentence for the client: static text
 * that says which it is. */
const char *json_text_fault(const char *s, size_t len);

#endif
