/*
 * AWS Signature Version 4 in the Authorization header (AWS IAM User Guide,
 * "Create a signed AWS API request"). Pure functions.
 *
 * libcurl 7.88 signs as well, but sends X-Amz-Date twice where the caller sets
 * it, and that is how a wrong clock of this host is compensated.
 */
#ifndef CURT_AWS_SIGN_H
#define CURT_AWS_SIGN_H

#include <stdint.h>

#include "aws/http_client.h"
#include "base/buf.h"
#include "base/result.h"

/* What signs a request. Strings belong to the caller. */
struct aws_keys {
    const char *id;
    const char *secret;
    const char *token; /* NULL: lasting keys */
};

struct aws_signing {
    struct aws_keys keys;
    const char *region;
    const char *service; /* "dynamodb", "sts" */
    /* Seconds that the server's clock is ahead of this host's. */
    int64_t clock_offset;
};

/* A clock that is off by less, in seconds, is not why a server refuses a
 * signature: it allows five minutes. */
#define AWS_SIGN_SKEW 240

/* "20261123T070000Z" and its NUL. */
#define AWS_SIGN_DATE_SIZE 17

/* Writes t, epoch seconds, as X-Amz-Date has it. */
void aws_sign_date(int64_t t, char date[AWS_SIGN_DATE_SIZE]);

/* A request as it will be sent, without a query. */
struct aws_sign_request {
    const char *method;
    const char *path; /* as in the URL, "" for "/" */
    /* All "Name: value" lines to sign, Host and X-Amz-Date among them, and a
     * NULL at the end. No name twice or the beginning of another; one space at
     * a time in values. */
    const char *const *lines;
    const char *body; /* never NULL */
};

/* Appends the line "Authorization: ..." that signs request at date, the value
 * of its X-Amz-Date. RESULT_INTERNAL: OpenSSL failed, or there are too many
 * lines (HTTP_CLIENT_LINES_MAX). */
enum result aws_sign(const struct aws_signing *signing,
                     const struct aws_sign_request *request, const char *date,
                     struct buf *out) MUST_CHECK;

/* Signs a request of the HTTP client, which has a Content-Type: its sign, where
 * its signing is a struct aws_signing, or NULL: not signed. RESULT_INVALID: the
 * URL is invalid. RESULT_INTERNAL as above. */
enum result aws_sign_lines(const struct http_client_request *request,
                           struct http_client_lines *lines) MUST_CHECK;

#endif
