/*
 * Reads what AWS Security Token Service answers: XML, by expat (AWS STS API
 * Reference, AssumeRole and AssumeRoleWithWebIdentity, version 2011-06-15).
 * Elements are known by their own name and that of the one around them, in any
 * namespace. No I/O.
 */
#ifndef CURT_AWS_STS_ANSWER_H
#define CURT_AWS_STS_ANSWER_H

#include <stddef.h>

#include "buf.h"
#include "result.h"

/* The largest answer that is read, in bytes; STS's have a few thousand. */
#define AWS_STS_ANSWER_MAX 65536

/* What STS answered. Strings are owned by it, and NULL where the answer does
 * not have them. */
struct aws_sts_answer {
    char *id;         /* of <Credentials>: AccessKeyId */
    char *secret;     /* SecretAccessKey */
    char *token;      /* SessionToken */
    char *expiration; /* Expiration, as it was sent */
    char *code;       /* of <Error>: Code, such as "AccessDenied" */
    char *message;    /* Message */
};

/* Reads the len bytes at xml, whatever they are. RESULT_OK: there are all four
 * of <Credentials>, or there is a code; the caller releases *out with
 * aws_sts_answer_free(). RESULT_CORRUPT: it is no such answer, too large or
 * nested too deep, or it has a document type declaration, which could define
 * entities that never end; *out is empty then. */
enum result aws_sts_answer_read(const char *xml, size_t len,
                                struct aws_sts_answer *out) MUST_CHECK;

/* Wipes and releases; empty again afterwards. */
void aws_sts_answer_free(struct aws_sts_answer *answer);

/* Appends STS's own message for an operator, cut and in printable ASCII; or
 * nothing, where it cannot be shown: it is empty, repeats a signed request, or
 * has a part of one of the count secrets in it (NULL ones are passed over). */
void aws_sts_answer_add_message(struct buf *out,
                                const struct aws_sts_answer *answer,
                                const char *const *secrets, size_t count);

#endif
