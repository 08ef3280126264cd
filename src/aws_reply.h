/*
 * What DynamoDB answered: the HTTP answer, checked and read as its JSON
 * protocol. Pure functions.
 */
#ifndef CURT_AWS_REPLY_H
#define CURT_AWS_REPLY_H

#include <stdbool.h>

#include "aws_credentials.h"
#include "aws_error.h"
#include "aws_http.h"
#include "buf.h"
#include "result.h"

struct json_object;

struct aws_reply {
    enum result result;
    enum aws_cure cure; /* what may help, where result is not RESULT_OK */
    bool maybe_done;    /* the request may have been carried out, or was */
    bool answered;      /* by DynamoDB itself, which is not down */
    struct json_object *body;       /* on RESULT_OK, the caller's; else NULL */
    char type[AWS_ERROR_TYPE_SIZE]; /* of the error; "" if none is named */
};

/* Reads an answer of any status into *out. On failure text gets the reason and
 * what to mend; nothing that is a secret of credentials, which may be NULL.
 * RESULT_OK: status 200 with a JSON object, whole (x-amz-crc32, where there is
 * one, is over the bytes as sent: shared/DYNAMODB "The wire"). RESULT_CORRUPT:
 * it nests deeper than any item. RESULT_UNAVAILABLE: it is damaged, or not
 * what DynamoDB says. Otherwise what the error type means: aws_error.h. */
void aws_reply_read(const struct aws_http_answer *http,
                    const struct aws_credentials *credentials,
                    struct aws_reply *out, struct buf *text);

#endif
