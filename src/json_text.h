/*
 * JSON's grammar (RFC 8259), read strictly. json-c alone lets pass what is no
 * JSON even when it is told to be strict: NaN, 01, 1., control characters in
 * strings, overlong UTF-8; and it cuts a member's name at \u0000.
 */
#ifndef CURT_JSON_TEXT_H
#define CURT_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Levels of arrays and objects, json-c's own default. */
#define JSON_TEXT_LEVELS 32

/* Whether the len bytes at s, a NUL behind them, are one JSON value of at most
 * JSON_TEXT_LEVELS levels, in which no member's name has a NUL. */
bool json_text_ok(const char *s, size_t len);

#endif
