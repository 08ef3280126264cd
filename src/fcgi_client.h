/*
 * The other side of FastCGI: one request to a pool, as a web server sends it
 * (FastCGI specification 1.0, sections 3 to 6), to see whether it answers.
 */
#ifndef CURT_FCGI_CLIENT_H
#define CURT_FCGI_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "result.h"

/* Largest answer, in bytes. */
#define FCGI_CLIENT_ANSWER_MAX (1u << 18)

/* Sends a request without a body to address (pool.h), with method and uri, and
 * waits for the whole answer until deadline (clock_monotonic_ms()). What came
 * on standard output, the CGI response, is appended to answer, which must
 * allow FCGI_CLIENT_ANSWER_MAX bytes. A wildcard address stands for loopback.
 * RESULT_OK: it came. Otherwise reason says why not. RESULT_NOT_FOUND: nobody
 * listens there. RESULT_DENIED: no permission to connect. RESULT_UNAVAILABLE:
 * no answer in time, or the connection was closed before it. RESULT_CORRUPT:
 * what answers speaks no FastCGI. RESULT_INVALID: address is none. */
enum result fcgi_client_ask(const char *address, const char *method,
                            const char *uri, int64_t deadline,
                            struct buf *answer, struct buf *reason) MUST_CHECK;

/* The status of a CGI response (RFC 3875, section 6): its Status field, 200
 * without one; 0 where it has no head. */
int fcgi_client_status(const struct buf *answer);

/* The value of a field of its head, which the caller frees; NULL: there is
 * none. */
char *fcgi_client_field(const struct buf *answer, const char *name);

#endif
