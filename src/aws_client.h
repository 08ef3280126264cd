/*
 * The AWS transport: one signed request to DynamoDB's HTTPS endpoint and its
 * answer, over libcurl, on one connection that is kept alive. It knows the
 * wire and the error types, nothing of tables and items.
 *
 * A client belongs to one process: made after the fork, never shared. It does
 * nothing on the network before the first call. SIGPIPE must be ignored in the
 * process: a TLS connection can raise it.
 */
#ifndef CURT_AWS_CLIENT_H
#define CURT_AWS_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "aws_error.h"
#include "conf.h"
#include "result.h"

struct aws_client;
struct json_object;

struct aws_request {
    const char *action; /* DynamoDB's name: "GetItem" */
    struct json_object *body;
    /* A moment of clock_monotonic_ms() at which the call ends in any case. */
    int64_t deadline;
    /* Whether the request may be sent a second time, on a new connection, when
     * the kept one turns out to be dead before a byte of the answer came. The
     * server may then have carried it out twice. */
    bool may_repeat;
};

struct aws_answer {
    /* The answer's JSON object on RESULT_OK, else NULL; released by
     * aws_answer_free(). */
    struct json_object *body;
    /* On failure: the server may have carried the request out. */
    bool maybe_done;
    /* The request was sent a second time: see may_repeat. */
    bool repeated;
    /* The server's error type, "" if it named none. */
    char type[AWS_ERROR_TYPE_SIZE];
};

/* A client for the endpoint, region and credentials of conf, which must
 * outlive it. Never fails. */
struct aws_client *aws_client_new(const struct conf *conf);

/* Closes and releases; NULL is allowed. */
void aws_client_free(struct aws_client *c);

/* Sends a request and waits for its answer. answer is filled in any case.
 * RESULT_OK: HTTP 200 with a JSON object. RESULT_NOT_FOUND: no such table.
 * RESULT_CONFLICT: the condition failed, or the table is there already.
 * RESULT_INVALID: the server cannot use the request. RESULT_CORRUPT: the
 * answer nests deeper than any item. Also RESULT_DENIED, RESULT_THROTTLED,
 * RESULT_UNAVAILABLE and RESULT_INTERNAL. */
enum result aws_client_call(struct aws_client *c,
                            const struct aws_request *request,
                            struct aws_answer *answer) MUST_CHECK;

void aws_answer_free(struct aws_answer *answer);

/* Why the last call failed and what to mend, without secrets. Valid until the
 * next call. */
const char *aws_client_error(const struct aws_client *c);

#endif
