/*
 * Text of other programs: sets of characters, for strspn() and tables; the one
 * number parser, which takes no sign, no white space, no prefix and no
 * overflow; and a hash.
 */
#ifndef CURT_TEXT_H
#define CURT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_DIGITS "0123456789"
#define TEXT_LOWER  "abcdefghijklmnopqrstuvwxyz"
#define TEXT_UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define TEXT_ALNUM  TEXT_UPPER TEXT_LOWER TEXT_DIGITS
#define TEXT_HEX    "0123456789abcdef"

/* U+FEFF, which editors put before the first byte of a file. */
#define TEXT_BYTE_ORDER_MARK "\xef\xbb\xbf"

/* Reads the whole of s (1 to 20 digits) as a number of at most max. On false
 * *out is unchanged. */
bool text_number(const char *s, uint64_t max, uint64_t *out);

/* Reads a number as DynamoDB's N and SQL print them: optional minus, digits,
 * a fraction, an exponent. It is cut off towards zero; one with a fraction or
 * an exponent is as exact as long double. Values beyond int64_t become
 * INT64_MAX or INT64_MIN. False: s is not a number, *out is unchanged. */
bool text_decimal(const char *s, int64_t *out);

/* A hash of the bytes of s, for tables in memory and in mapped files, the same
 * in all processes: FNV-1a, with its high bits mixed into the low ones. */
uint64_t text_hash(const char *s);

/* SipHash-2-4 (Aumasson and Bernstein, 2012) of len bytes: without the secret
 * key, texts with a chosen or equal hash cannot be found. */
uint64_t text_hash_keyed(const uint64_t key[2], const void *bytes, size_t len);

#endif
