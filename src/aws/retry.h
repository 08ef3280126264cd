/*
 * When a request to AWS is tried again, and after which pause: the standard
 * retry mode of AWS's SDKs (AWS SDKs and Tools Reference Guide, "Retry
 * behavior"). aws_retry_send() does all of it for a service that hands out
 * credentials; the client of DynamoDB has its own loop.
 *
 * The quota keeps an outage from being multiplied: a retry takes from it, a
 * success gives back, and when it is empty requests are tried once only.
 *
 * A request goes: aws_retry_begin(), the first attempt, and after each attempt
 * that failed and may be repeated aws_retry_again(); if that is true,
 * aws_retry_pause() and the next attempt. aws_retry_succeeded() ends a request
 * that the server carried out; one that failed gives nothing back.
 */
#ifndef CURT_AWS_RETRY_H
#define CURT_AWS_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/http_client.h"
#include "aws/source.h"
#include "base/result.h"

/* Attempts at one request, the first one included. */
#define AWS_RETRY_ATTEMPTS 3

#define AWS_RETRY_QUOTA        500 /* tokens of a full quota */
#define AWS_RETRY_COST         5   /* of a retry */
#define AWS_RETRY_COST_TIMEOUT 10  /* of a retry after a timeout */
#define AWS_RETRY_REFUND       1   /* for a success without a retry */

/* The pause before the first retry is drawn from 0 to this many milliseconds,
 * before each further one from twice as many, up to the maximum. AWS's SDKs
 * take 50 ms for DynamoDB, where others get a second. */
#define AWS_RETRY_BASE_MS 50
#define AWS_RETRY_MAX_MS  20000

/* The maximum after a throttled answer: it costs the server little, and the
 * next second has new units. */
#define AWS_RETRY_THROTTLED_MAX_MS 400

#define AWS_RETRY_LEAST_MS 20

/* The quota of one process, which begins as AWS_RETRY_QUOTA, and what the
 * request under way took from it. */
struct aws_retry {
    unsigned quota;
    unsigned taken;     /* by the last retry of the request under way */
    unsigned attempts;  /* begun at the request under way */
    unsigned throttled; /* of its answers */
};

/* Begins a request: its first attempt. What the request before took and did
 * not give back is lost. */
void aws_retry_begin(struct aws_retry *r);

/* Why another attempt is to be made. */
enum aws_retry_cause {
    AWS_RETRY_FAILED,
    AWS_RETRY_TIMED_OUT,
    AWS_RETRY_FIXED,    /* the cause of a refusal was fixed: it takes nothing
                         * from the quota and needs no pause */
    AWS_RETRY_THROTTLED /* it is not one of the three and takes nothing from the
                         * quota, because the server works and limits the rate.
                         * The request's deadline ends it, and the pauses keep
                         * the rate low */
};

/* Allows one more attempt and takes from the quota what it costs. False, and
 * nothing is taken: the last attempt was the third, or the quota has less than
 * this retry costs. */
bool aws_retry_again(struct aws_retry *r, enum aws_retry_cause cause);

/* The pause before the attempt that was just allowed, in milliseconds: full
 * jitter, 0 to the most, each alike. random: 32 random bits. */
int64_t aws_retry_pause_ms(const struct aws_retry *r, uint32_t random);

/* Makes that pause; a signal cuts it short, because the process may have to
 * end. False, without a pause: less than AWS_RETRY_LEAST_MS would be left until
 * deadline, too little for an attempt. */
bool aws_retry_pause(const struct aws_retry *r, int64_t deadline);

/* The request succeeded: what its last retry cost comes back, or a little
 * where it needed none; never more than a full quota. */
void aws_retry_succeeded(struct aws_retry *r);

/* One request to STS, the container credential provider or the instance
 * metadata service. */
struct aws_retry_call {
    /* The request, which may be carried out twice; its deadline is set for each
     * attempt. */
    struct http_client_request http;
    /* How long one attempt may take, in milliseconds. */
    int64_t timeout;
    /* Attempts in all, 1 to AWS_RETRY_ATTEMPTS. */
    unsigned attempts;
    /* Whether a whole answer reports a fault that may be gone in a moment;
     * NULL: aws_retry_is_passing(). */
    bool (*is_passing)(const struct http_client_answer *answer);
};

/* Whether the status shows that another attempt may help: 429 and 5xx. */
bool aws_retry_is_passing(const struct http_client_answer *answer);

/* Sends until there is a whole answer for which is_passing() is false, or the
 * attempts or the time (request->deadline) are used up, with pauses in between.
 * answer and http_client_error(request->http) are those of the last attempt.
 * RESULT_OK: a whole answer, whatever its status. RESULT_DENIED: the
 * certificate was not accepted, or the URL is invalid. RESULT_UNAVAILABLE: no
 * whole answer, or one that is too large. RESULT_INTERNAL: libcurl failed. */
enum result aws_retry_send(const struct aws_source_request *request,
                           const struct aws_retry_call *call,
                           struct http_client_answer *answer) MUST_CHECK;

#endif
