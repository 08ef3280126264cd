/*
 * What AWS says when it refuses: error types, read from an answer, told apart
 * by type and not by status, because throttling, an expired token and a failed
 * condition are all HTTP 400. Pure functions.
 */
#ifndef CURT_AWS_ERROR_H
#define CURT_AWS_ERROR_H

#include <stdbool.h>

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

#endif
