/* UTF-8 (RFC 3629), read strictly. */
#ifndef CURT_UTF8_H
#define CURT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* What utf8_next() returns for bytes that are no UTF-8. */
#define UTF8_BAD UINT32_MAX

/* Reads one code point at *pos (below len) and moves *pos behind it. For bytes
 * that are no UTF-8 it returns UTF8_BAD and moves behind the longest part that
 * could have begun a character (Unicode, "Substitution of Maximal
 * Subparts"). */
uint32_t utf8_next(const char *s, size_t len, size_t *pos);

/* Whether the len bytes at s are UTF-8. */
bool utf8_ok(const char *s, size_t len);

/* Appends s with each piece that is no UTF-8 replaced by U+FFFD, as Python's
 * errors="replace" does. */
void utf8_add_clean(struct buf *out, const char *s, size_t len);

#endif
