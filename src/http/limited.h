/* What answers say about limits (limits.h): 429, and the fields of
 * draft-ietf-httpapi-ratelimit-headers. */
#ifndef CURT_LIMITED_H
#define CURT_LIMITED_H

#include "http/http.h"
#include "service/limits.h"

/* Adds RateLimit-Policy and RateLimit to an answer, where met has limits, and
 * Retry-After where waiting helps. q and r are links (requests, of "auth" and
 * "unknown"), w and t seconds. */
void limited_fields(struct http_response *res, const struct limits_met *met);

#define LIMITED_DETAIL_SIZE 160

/* The detail of an answer 429 (RFC 6585, section 4) to a request that the last
 * limit of met refused: a message (page.h), in detail, which is returned. */
const char *limited_detail(const struct limits_met *met,
                           char detail[LIMITED_DETAIL_SIZE]);

#endif
