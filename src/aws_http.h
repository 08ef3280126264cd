/*
 * One HTTP request and its whole answer, over libcurl: what DynamoDB, STS and
 * the metadata services have in common. It knows the wire, and how to sign a
 * request (AWS Signature Version 4), and nothing of what is asked.
 *
 * A handle belongs to one thread of one process: made after the fork, never
 * shared. It keeps its connections alive. SIGPIPE must be ignored in the
 * process: a TLS connection can raise it.
 */
#ifndef CURT_AWS_HTTP_H
#define CURT_AWS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws_sign.h"
#include "result.h"

struct aws_http;

struct aws_http_request {
    const char *method; /* "GET", "PUT" or "POST" */
    const char *url;
    /* "Name: value" lines and a NULL at the end; or NULL. A signed request has
     * a Content-Type among them. */
    const char *const *headers;
    const char *body;                  /* of a PUT or POST; NULL: empty */
    const struct aws_signing *signing; /* NULL: not signed */
    /* A moment of clock_monotonic_ms() at which it ends in any case. */
    int64_t deadline;
    /* Whether the request may be sent a second time, on a new connection, when
     * the kept one turns out to be dead before a byte of the answer came. The
     * server may then have carried it out twice. */
    bool may_repeat;
    /* No proxy may be in between, whatever the environment says. */
    bool direct;
};

struct aws_http_answer {
    long status; /* 0: no whole answer came */
    /* The body, with a NUL behind it; belongs to the handle and is valid until
     * its next request. Never NULL. */
    const char *body;
    size_t len;
    const char *location; /* of a redirect, like body; NULL: none */
    int64_t date;   /* the server's clock (Date), epoch seconds; 0: not said */
    bool has_crc32; /* the answer has an x-amz-crc32 */
    uint32_t crc32; /* what that says */
    unsigned sends; /* how often the request, or its beginning, was sent */
};

/* A handle. ca_bundle: the file of authorities to trust, NULL for the
 * system's; it must outlive the handle. max_answer: the largest body, in
 * bytes. No I/O. Never fails. */
struct aws_http *aws_http_new(const char *ca_bundle, size_t max_answer);

/* Closes and releases, secrets wiped; NULL is allowed. */
void aws_http_free(struct aws_http *h);

/* Sends a request and waits for its answer. answer is filled in any case.
 * RESULT_OK: a whole answer came, whatever its status. RESULT_DENIED: the
 * server's certificate was not accepted. RESULT_UNAVAILABLE: no whole answer,
 * or not in time. RESULT_CORRUPT: one that is too large. RESULT_INVALID: the
 * URL is none. RESULT_INTERNAL: libcurl failed. */
enum result aws_http_send(struct aws_http *h,
                          const struct aws_http_request *request,
                          struct aws_http_answer *answer) MUST_CHECK;

/* Why the last request failed, without secrets. Valid until the next one. */
const char *aws_http_error(const struct aws_http *h);

/* Whether the last failure was that time had run out. */
bool aws_http_timed_out(const struct aws_http *h);

/* Whether url can be an endpoint: http or https, a host, and no user, whose
 * password every error text would show, and no query. *loopback (may be NULL):
 * its host is a loopback address or "localhost". */
bool aws_http_check_url(const char *url, bool *loopback);

#endif
