/* Short ids: A-Za-z0-9 from a cryptographic generator; those that a client
 * chooses may have - and _ as well. */
#ifndef CURT_IDS_H
#define CURT_IDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/result.h"

/* Longest id, in characters; an array for one needs one more. */
#define IDS_MAX 64

/* Draws an id: its length uniform over min..max (1 <= min <= max <= IDS_MAX),
 * each character uniform over letters, never the name of a route of curt's own.
 * RESULT_INTERNAL: the generator of OpenSSL failed. */
enum result ids_draw(size_t min, size_t max, const char *letters,
                     char id[IDS_MAX + 1]) MUST_CHECK;

/* The same, over A-Za-z0-9. */
enum result ids_make(size_t min, size_t max, char id[IDS_MAX + 1]) MUST_CHECK;

/* Whether the len bytes at s can be an id: the alphabet, - and _, 1 to
 * IDS_MAX characters, and not the name of a route of curt's own. */
bool ids_valid(const char *s, size_t len);

/* Makes the letters of an id small, for CASE_INSENSITIVE. False: it is the name
 * of a route then. */
bool ids_lower(char *id);

#endif
