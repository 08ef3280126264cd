/*
 * One question to a service that hands out credentials (STS, the container
 * credential provider, the instance metadata service): sent again where that
 * may help, within the deadline.
 */
#ifndef CURT_AWS_ASK_H
#define CURT_AWS_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "aws_http.h"
#include "aws_source.h"
#include "result.h"

struct aws_ask {
    /* What is asked; its deadline is set for each attempt. The request must
     * be one that may be carried out twice. */
    struct aws_http_request http;
    /* How long one attempt may take, in milliseconds. */
    int64_t timeout;
    /* Attempts in all, 1 to AWS_RETRY_ATTEMPTS. */
    unsigned attempts;
    /* Whether a whole answer speaks of a fault that may be gone in a moment;
     * NULL: aws_ask_is_passing(). */
    bool (*is_passing)(const struct aws_http_answer *answer);
};

/* Whether the status alone says that asking again may help: 429 and 5xx. */
bool aws_ask_is_passing(const struct aws_http_answer *answer);

/* Asks until a whole answer comes that is_passing() does not take for a
 * passing fault, or the attempts or the time (request->deadline) are used up.
 * Between attempts it pauses as aws_retry.h says. answer and
 * aws_http_error(request->http) are those of the last attempt. RESULT_OK: a
 * whole answer came, whatever its status. RESULT_DENIED: the certificate was
 * not accepted, or the URL is none. RESULT_UNAVAILABLE: no whole answer, or
 * one that is too large. RESULT_INTERNAL: libcurl failed. */
enum result aws_ask_send(const struct aws_source_request *request,
                         const struct aws_ask *ask,
                         struct aws_http_answer *answer) MUST_CHECK;

#endif
