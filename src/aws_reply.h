/*
 * What DynamoDB answered: the HTTP answer, checked and read as its JSON
 * protocol. Pure functions.
 */
#ifndef CURT_AWS_REPLY_H
#define CURT_AWS_REPLY_H

#include <stdbool.h>

#include "aws_credentials.h"
#include "aws_http.h"
#include "buf.h"
#include "result.h"

/* Longest error type that is kept, and its NUL. */
#define AWS_ERROR_TYPE_SIZE 80

/* What may help when the request is sent again. */
enum aws_cure {
    AWS_CURE_NONE,  /* nothing: it would be refused again */
    AWS_CURE_PAUSE, /* a pause */
    AWS_CURE_CLOCK, /* another X-Amz-Date, if it was the clock that was wrong */
    AWS_CURE_KEYS   /* other keys, if there are any */
};

struct aws_error {
    enum result result;
    enum aws_cure cure;
    bool maybe_done;    /* the server may have carried the request out */
    const char *advice; /* what to mend; NULL where nothing can be */
};

/* The error that type means, with or without its "Exception". type: the part
 * of __type behind '#', or "" when the answer named none; then the HTTP status
 * decides. Never RESULT_OK. */
struct aws_error aws_error_find(const char *type, long status);

/* Copies the error type out of the value of __type: the part behind '#', cut
 * to the size, with everything that is no letter or digit left out. */
void aws_error_type(const char *raw, char type[AWS_ERROR_TYPE_SIZE]);

/* Whether the server's own message can be shown. Messages about signatures
 * repeat the request, session token included. */
bool aws_error_message_is_safe(enum result r, const char *type);

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
 * what DynamoDB says. Otherwise what the error type means: aws_reply.h. */
void aws_reply_read(const struct aws_http_answer *http,
                    const struct aws_credentials *credentials,
                    struct aws_reply *out, struct buf *text);

#endif
