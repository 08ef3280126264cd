/*
 * A FastCGI client: one request to a pool, as a web server sends it (FastCGI
 * specification 1.0, sections 3 to 6), to see whether it answers.
 */
#ifndef CURT_FCGI_CLIENT_H
#define CURT_FCGI_CLIENT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"

/* Largest answer, in bytes. */
#define FCGI_CLIENT_ANSWER_MAX (1u << 18)

/* Connects to address (sockname.h), a wildcard one meaning loopback, sends a
 * request without a body with method and uri, and waits for the whole answer,
 * all until deadline (clock_monotonic_ms()). The CGI response is appended to
 * answer. Otherwise *reason, static storage, says why not. RESULT_NOT_FOUND:
 * nothing listens there. RESULT_DENIED: no permission to connect.
 * RESULT_UNAVAILABLE: no answer in time, or the connection was closed before
 * it. RESULT_CORRUPT: what answers does not speak FastCGI, or sends more than
 * FCGI_CLIENT_ANSWER_MAX bytes. RESULT_INVALID: not an address, or the request
 * is too large. */
enum result fcgi_client_send(const char *address, const char *method,
                             const char *uri, int64_t deadline,
                             struct buf *answer,
                             const char **reason) MUST_CHECK;

/* The status of a CGI response (RFC 3875, section 6): its Status field, 200
 * without one; 0 where it has no head. */
int fcgi_client_status(const struct buf *answer);

/* The value of a field of its head, which the caller frees; NULL: missing. */
char *fcgi_client_field(const struct buf *answer, const char *name);

#endif
