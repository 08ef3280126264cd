/*
 * What DynamoDB answered: the HTTP answer, checked and read as its JSON
 * protocol. Pure functions.
 */
#ifndef CURT_AWS_REPLY_H
#define CURT_AWS_REPLY_H

#include <stdbool.h>

#include "aws/credentials.h"
#include "aws/http_client.h"
#include "base/buf.h"
#include "base/result.h"

/* Longest error type that is kept, and its NUL. */
#define AWS_ERROR_TYPE_SIZE 80

/* What may help when the request is sent again. */
enum aws_cure {
    AWS_CURE_NONE,  /* nothing: it would be refused again */
    AWS_CURE_PAUSE, /* a pause */
    AWS_CURE_CLOCK, /* another X-Amz-Date, if the clock is wrong */
    AWS_CURE_KEYS   /* other keys, if there are any */
};

/* Copies the error type out of the value of __type: the part after '#', cut to
 * the size, with its letters and digits only. */
void aws_error_type(const char *raw, char type[AWS_ERROR_TYPE_SIZE]);

/* Whether a request may succeed after a pause that was refused with this error
 * type, of DynamoDB or STS, and HTTP status. */
bool aws_error_is_passing(const char *type, long status);

struct json_object;

struct aws_reply {
    enum result result;
    enum aws_cure cure; /* what may help, where result is not RESULT_OK */
    bool maybe_done;    /* the request may have been carried out, or was */
    bool answered;      /* by DynamoDB itself, so it is available */
    struct json_object *body;       /* on RESULT_OK, the caller's; else NULL */
    char type[AWS_ERROR_TYPE_SIZE]; /* of the error; "" if none is named */
};

/* Reads an answer of any status into *out. On failure text gets the reason and
 * how to fix it; nothing that is a secret of credentials, which may be NULL.
 * RESULT_OK: status 200 with a JSON object, whole (x-amz-crc32, where there is
 * one, is over the bytes as sent). RESULT_CORRUPT: it nests deeper than any
 * item. RESULT_UNAVAILABLE: it is damaged, or not from DynamoDB. Otherwise what
 * the error type means, or else the status. */
void aws_reply_read(const struct http_client_answer *http,
                    const struct aws_credentials *credentials,
                    struct aws_reply *out, struct buf *text);

#endif
