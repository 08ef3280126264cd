/*
 * One HTTP request and its whole answer, over libcurl.
 *
 * A handle belongs to one thread of one process: made after the fork, never
 * shared. It keeps its connections alive. SIGPIPE must be ignored in the
 * process: a TLS connection can raise it.
 */
#ifndef CURT_HTTP_CLIENT_H
#define CURT_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

struct http_client;

/* The header lines of a request. */
#define HTTP_CLIENT_LINES_MAX 16

struct http_client_lines {
    char *all[HTTP_CLIENT_LINES_MAX + 1]; /* and a NULL */
    size_t count;
};

/* Adds a line, which is wiped and freed once the request has been sent; beyond
 * the limit at once. */
void http_client_add_line(struct http_client_lines *lines, char *line);

struct http_client_request {
    const char *method; /* "GET", "PUT" or "POST" */
    const char *url;
    /* "Name: value" lines and a NULL at the end; or NULL. */
    const char *const *headers;
    const char *body; /* of a PUT or POST; NULL: empty */
    /* Adds lines, such as a signature, to those of headers, just before the
     * request is sent; NULL: none. Other results than RESULT_OK: it is not
     * sent. */
    enum result (*sign)(const struct http_client_request *request,
                        struct http_client_lines *lines);
    const void *signing; /* for sign */
    /* A moment of clock_monotonic_ms() at which it ends in any case. */
    int64_t deadline;
    /* Whether the request may be sent a second time, on a new connection, when
     * the kept one turns out to be dead before a byte of the answer came. The
     * server may then have carried it out twice. */
    bool may_repeat;
    /* No proxy may be in between, whatever the environment has. */
    bool direct;
};

struct http_client_answer {
    long status; /* 0: no whole answer came */
    /* The body, with a NUL after it; belongs to the handle and is valid until
     * its next request. Never NULL. */
    const char *body;
    size_t len;
    const char *location; /* of a redirect, like body; NULL: none */
    int64_t date;   /* the server's clock (Date), epoch seconds; 0: none */
    bool has_crc32; /* the answer has an x-amz-crc32 */
    uint32_t crc32; /* its value */
    unsigned sends; /* how often the request, or its beginning, was sent */
};

/* Takes a URL apart for a signature: "name:port", the port where it is not the
 * scheme's own, and the path, for the caller to free. False: not a URL. */
bool http_client_split(const char *url, char **host, char **path);

/* A handle. ca_bundle: the file of authorities to trust, NULL for the
 * system's; it must outlive the handle. max_answer: the largest body, in
 * bytes. No I/O. Never fails. */
struct http_client *http_client_new(const char *ca_bundle, size_t max_answer);

/* Closes and releases, secrets wiped; NULL is allowed. */
void http_client_free(struct http_client *h);

/* Sends a request and waits for its answer. answer is filled in any case.
 * RESULT_OK: a whole answer came, whatever its status. RESULT_DENIED: the
 * server's certificate was not accepted. RESULT_UNAVAILABLE: no whole answer,
 * or not in time. RESULT_CORRUPT: one that is too large. RESULT_INVALID: not
 * a URL. RESULT_INTERNAL: libcurl failed. */
enum result http_client_send(struct http_client *h,
                             const struct http_client_request *request,
                             struct http_client_answer *answer) MUST_CHECK;

/* Why the last request failed, without secrets. Valid until the next one. */
const char *http_client_error(const struct http_client *h);

/* Whether the last failure was that time had run out. */
bool http_client_timed_out(const struct http_client *h);

/* Whether url can be an endpoint: http or https, a host, and no user, whose
 * password every error text would show, and no query. *loopback (may be NULL):
 * its host is a loopback address or "localhost". */
bool http_client_check_url(const char *url, bool *loopback);

#endif
