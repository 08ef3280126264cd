/* UTF-8 (RFC 3629), read strictly. */
#ifndef CURT_UTF8_H
#define CURT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"

/* What utf8_next() returns for bytes that are not UTF-8. */
#define UTF8_BAD UINT32_MAX

/* Reads one code point at *pos (below len) and moves *pos after it. For bytes
 * that are not UTF-8 it returns UTF8_BAD and moves after the longest part that
 * could have begun a character (Unicode, "Substitution of Maximal
 * Subparts"). */
uint32_t utf8_next(const char *s, size_t len, size_t *pos);

/* Whether the len bytes at s are UTF-8. */
bool utf8_ok(const char *s, size_t len);

/* Appends s with each piece that is not UTF-8 replaced by U+FFFD, as Python's
 * errors="replace" does. */
void utf8_add_clean(struct buf *out, const char *s, size_t len);

/* Whether a terminal obeys a character instead of showing it: C0, DEL, C1, and
 * what turns the direction of writing (Unicode Standard Annex #9: U+202A to
 * U+202E, U+2066 to U+2069). */
bool utf8_is_control(uint32_t point);

/* Whether the len bytes at s are UTF-8 without such characters. */
bool utf8_is_shown(const char *s, size_t len);

/* Bytes of the longest escape: four times \xNN. */
#define UTF8_ESCAPE_MAX 16

/* Takes one character of s from *pos, like utf8_next(), and writes it to out:
 * as it is, or, where it is a control character, not UTF-8, or (ascii) not
 * ASCII, each of its bytes as \xNN. Returns the bytes written, no NUL. */
size_t utf8_escape(const char *s, size_t len, size_t *pos, bool ascii,
                   char out[UTF8_ESCAPE_MAX]);

/* Prints text, which may come from anywhere, so that a terminal only shows it:
 * utf8_escape(), not limited to ASCII. */
void utf8_print(FILE *out, const char *text);

/* Appends the JSON text json, in which strings have no raw C0 characters (no
 * JSON text has): on one line, control characters as \uNNNN, bytes that are
 * not UTF-8 as \ufffd. */
void utf8_add_json(struct buf *out, const char *json);

#endif
