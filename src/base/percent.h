/* Percent-encoding (RFC 3986, section 2.1). */
#ifndef CURT_PERCENT_H
#define CURT_PERCENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Appends the len bytes at s with each %XX decoded once; an invalid %XX stays
 * as it is. */
void percent_decode(struct buf *out, const char *s, size_t len);

/* Whether the len bytes at s begin with a valid %XX. */
bool percent_is_encoded(const char *s, size_t len);

/* Appends the len bytes at s with all but the unreserved characters (RFC 3986,
 * section 2.3) and those of keep as %XX, in upper case. */
void percent_encode(struct buf *out, const char *s, size_t len,
                    const char *keep);

#endif
