/* SHA-256 as text: names of records, and what tells one body from another. */
#ifndef CURT_DIGEST_H
#define CURT_DIGEST_H

#include <stddef.h>

/* 43 characters and a NUL. */
#define DIGEST_SIZE 44

/* Writes the SHA-256 of len bytes in base64url without padding (RFC 4648,
 * section 5). */
void digest_text(const void *bytes, size_t len, char text[DIGEST_SIZE]);

#endif
