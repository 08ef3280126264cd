/*
 * The FastCGI side of a worker: its connections. Requests are read without
 * blocking and are handed out when they have arrived whole, so that a slow
 * client costs some memory and never a worker.
 */
#ifndef CURT_FCGI_H
#define CURT_FCGI_H

#include <stdbool.h>

#include "config/conf.h"
#include "http/http.h"

/* The listening socket's descriptor (specification, section 2.2). */
#define FCGI_SOCKET 0

struct fcgi;

/* Whether descriptor 0 is a listening socket. */
bool fcgi_socket_ok(void);

/* Prepares this process to accept requests; call once, after the fork, before
 * signal handlers are set. conf may change between two requests: MAX_BODY and
 * REQUEST_TIMEOUT are read from it. takes_body tells whether a request whose
 * head is known needs its body. Ends the process when the kernel has no
 * descriptors left (logged). */
struct fcgi *fcgi_new(const struct conf *conf,
                      bool (*takes_body)(const struct http_request *req));

/* Closes the connections and releases; NULL is allowed. */
void fcgi_free(struct fcgi *f);

/* Waits for the next request that can be answered: it is whole, or it needs no
 * body, or its body will not come (http.h: body_fault). It stays
 * valid until fcgi_finish(), which must follow. *req is NULL where
 * fcgi_interrupt(false) was called instead. False: fcgi_interrupt(true) was
 * called and nothing more is to be answered, or the socket failed (logged). */
bool fcgi_accept(struct fcgi *f, const struct http_request **req);

/* Sends the response and ends the request that fcgi_accept() returned last.
 * What the web server does not take at once is sent while others are served. A
 * client that has gone away is no error. HEAD gets no body. */
void fcgi_finish(struct fcgi *f, const struct http_response *res);

/* Makes fcgi_accept() return once without a request, before it reads another;
 * or, with stop, take no new request and return false when those that have
 * begun are answered. Async-signal-safe. */
void fcgi_interrupt(bool stop);

#endif
