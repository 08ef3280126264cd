/*
 * The FastCGI side of a worker, over libfcgi
 * (FastCGI specification 1.0, https://fastcgi-archives.github.io/).
 *
 * The only module that includes fcgiapp.h.
 */
#ifndef CURT_FCGI_H
#define CURT_FCGI_H

#include <stdbool.h>
#include <stddef.h>

#include "http.h"

/* The listening socket's descriptor (specification, section 2.2). */
#define FCGI_SOCKET 0

struct fcgi;

/* Whether descriptor 0 is a listening socket. */
bool fcgi_socket_ok(void);

/* Prepares this process to accept requests; call once, after the fork, before
 * signal handlers are set. Never fails. */
struct fcgi *fcgi_new(void);

/* Closes the connection, if one is open, and releases; NULL is allowed. */
void fcgi_free(struct fcgi *f);

/* Waits for the next request and reads its head; the body is still to be read.
 * *req stays valid until fcgi_finish(). False: fcgi_stop() was called and
 * nothing more is to be answered, or the socket failed (logged). */
bool fcgi_accept(struct fcgi *f, struct trace_source *traces,
                 struct http_request *req);

/* Reads the body, up to max bytes: http.h says what becomes of a longer one.
 * To be called for each request, once. */
void fcgi_read_body(struct fcgi *f, size_t max, struct http_request *req);

/* Sends the response and ends the request. A client that has gone away is no
 * error. HEAD gets no body. */
void fcgi_finish(struct fcgi *f, const struct http_request *req,
                 const struct http_response *res);

/* Makes fcgi_accept() return false as soon as it waits, for good. A request
 * that has begun is still read and answered. Async-signal-safe. */
void fcgi_stop(void);

#endif
