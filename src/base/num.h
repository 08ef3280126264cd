/*
 * The one number parser: decimal digits and nothing else. No sign, no white
 * space, no prefix, no overflow.
 */
#ifndef CURT_NUM_H
#define CURT_NUM_H

#include <stdbool.h>
#include <stdint.h>

/* Reads the whole of s (1 to 20 digits) as a number of at most max. On false
 * *out is unchanged. */
bool num_parse(const char *s, uint64_t max, uint64_t *out);

/* Reads a number as DynamoDB's N and SQL print them: optional minus, digits,
 * a fraction, an exponent. It is cut off towards zero; one with a fraction or
 * an exponent is as exact as long double. Values beyond int64_t become
 * INT64_MAX or INT64_MIN. False: s is not a number, *out is unchanged. */
bool num_parse_decimal(const char *s, int64_t *out);

#endif
