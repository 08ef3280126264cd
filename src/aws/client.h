/*
 * One call to DynamoDB, which ends within its deadline: signed with the current
 * keys, sent to an endpoint that answers, and repeated where that can help (AWS
 * SDKs and Tools Reference Guide, "Retry behavior"). It knows the protocol and
 * the error types, not tables and items.
 *
 * A client belongs to one thread of one process: made after the fork, never
 * shared. It does nothing on the network before the first call. SIGPIPE must
 * be ignored in the process: a TLS connection can raise it.
 */
#ifndef CURT_AWS_CLIENT_H
#define CURT_AWS_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/credentials.h"
#include "aws/reply.h"
#include "base/result.h"
#include "config/conf.h"

/* With a larger difference of the clocks, in seconds, nothing that has times
 * in it is stored. */
#define AWS_CLIENT_SKEW_MAX 3600

struct aws_client;
struct json_object;

struct aws_request {
    const char *action; /* DynamoDB's name: "GetItem" */
    struct json_object *body;
    /* A moment of clock_monotonic_ms() at which the call ends with all its
     * attempts. */
    int64_t deadline;
    /* Whether the request may be carried out twice: it is also sent again when
     * the server may have carried it out already. */
    bool may_repeat;
    /* The body has times of this host's clock: it is not sent again to a
     * server whose clock differs by more than AWS_CLIENT_SKEW_MAX. */
    bool dated;
    /* Whether other requests go first: a throttled answer ends the call.
     * Otherwise the request is sent until it is accepted or out of time. */
    bool gives_way;
};

struct aws_answer {
    /* The answer's JSON object on RESULT_OK, else NULL; released by
     * aws_answer_free(). */
    struct json_object *body;
    /* On failure: the server may have carried the request out, at one of its
     * sendings. So a condition that failed may have met the request's own
     * work. */
    bool maybe_done;
    /* The server's error type, "" if it named none. */
    char type[AWS_ERROR_TYPE_SIZE];
};

/* A client for the table, region, endpoints and credentials of conf, which
 * must outlive it. owner: a text for the table; with it the client shares
 * credentials and the breaker (breaker.h) with the other processes of this
 * host. NULL: every call is really sent. Never fails. */
struct aws_client *aws_client_new(const struct conf *conf, const char *owner);

/* Closes and releases; NULL is allowed. */
void aws_client_free(struct aws_client *c);

/* Makes a call. answer is filled in any case.
 * RESULT_OK: HTTP 200 with a JSON object. RESULT_NOT_FOUND: no such table.
 * RESULT_CONFLICT: the condition failed, or the table exists already.
 * RESULT_INVALID: the server cannot use the request. RESULT_CORRUPT: the
 * answer nests deeper, or is larger, than that of any item. Also
 * RESULT_DENIED, RESULT_THROTTLED, RESULT_UNAVAILABLE and RESULT_INTERNAL. */
enum result aws_client_call(struct aws_client *c,
                            const struct aws_request *request,
                            struct aws_answer *answer) MUST_CHECK;

void aws_answer_free(struct aws_answer *answer);

/* Why the last call failed and how to fix it, without secrets. Valid until the
 * next call. */
const char *aws_client_error(const struct aws_client *c);

/* ---- For the operator ------------------------------------------------ */

/* The region; NULL until a call has found it. */
const char *aws_client_region(const struct aws_client *c);

/* How many seconds the server's clock was ahead of this host's at the last
 * answer with a Date; false if there was none yet. */
bool aws_client_server_ahead(const struct aws_client *c, int64_t *seconds);

/* The provider of its keys; belongs to the client. */
struct aws_credentials *aws_client_credentials(struct aws_client *c);

#endif
