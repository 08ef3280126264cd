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

/* Connects to address (sockname.h), a wildcard one meaning loopback, until
 * deadline (clock_monotonic_ms()). RESULT_OK: *fd is the connection, for
 * fcgi_client_ask(). Otherwise *fd is -1 and reason says why. RESULT_NOT_FOUND:
 * nobody listens there. RESULT_DENIED: no permission to connect.
 * RESULT_UNAVAILABLE: not in time. RESULT_INVALID: not an address. */
enum result fcgi_client_connect(const char *address, int64_t deadline, int *fd,
                                struct buf *reason) MUST_CHECK;

/* Sends a request without a body over fd, with method and uri, waits for the
 * whole answer until deadline, and closes fd. What came on standard output, the
 * CGI response, is appended to answer, which must allow FCGI_CLIENT_ANSWER_MAX
 * bytes. Otherwise reason says why not. RESULT_UNAVAILABLE: no answer in time,
 * or the connection was closed before it. RESULT_CORRUPT: what answers does not
 * speak FastCGI. RESULT_INVALID: the request is too large. */
enum result fcgi_client_ask(int fd, const char *method, const char *uri,
                            int64_t deadline, struct buf *answer,
                            struct buf *reason) MUST_CHECK;

/* The status of a CGI response (RFC 3875, section 6): its Status field, 200
 * without one; 0 where it has no head. */
int fcgi_client_status(const struct buf *answer);

/* The value of a field of its head, which the caller frees; NULL: there is
 * none. */
char *fcgi_client_field(const struct buf *answer, const char *name);

#endif
