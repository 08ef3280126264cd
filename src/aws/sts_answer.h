/*
 * Reads the answers of AWS Security Token Service: XML, by expat (AWS STS API
 * Reference, AssumeRole and AssumeRoleWithWebIdentity, version 2011-06-15).
 * Elements are identified by their own name and that of their parent, in any
 * namespace. No I/O.
 */
#ifndef CURT_AWS_STS_ANSWER_H
#define CURT_AWS_STS_ANSWER_H

#include <stddef.h>

#include "base/buf.h"
#include "base/result.h"

/* The largest answer, in bytes; those of STS have a few thousand. */
#define AWS_STS_ANSWER_MAX 65536

/* An answer, which owns its strings; NULL where one is absent. */
struct aws_sts_answer {
    char *id;         /* of <Credentials>: AccessKeyId */
    char *secret;     /* SecretAccessKey */
    char *token;      /* SessionToken */
    char *expiration; /* Expiration, as it was sent */
    char *code;       /* of <Error>: Code, such as "AccessDenied" */
    char *message;    /* Message */
};

/* Reads len bytes of any content. RESULT_OK: all four of <Credentials> are
 * present, or a code is; the caller releases *out with aws_sts_answer_free().
 * RESULT_CORRUPT: it is not such an answer, too large or nested too deep, or it
 * has a document type declaration, which could define endless entities; *out is
 * empty then. */
enum result aws_sts_answer_read(const char *xml, size_t len,
                                struct aws_sts_answer *out) MUST_CHECK;

/* Wipes and releases; empty again afterwards. */
void aws_sts_answer_free(struct aws_sts_answer *answer);

/* Appends the message of STS for an operator, cut and in printable ASCII;
 * nothing if it is empty, is about a signature, which repeats the signed
 * request, or has a part of one of the count secrets in it (NULL ones are
 * skipped). */
void aws_sts_answer_add_message(struct buf *out,
                                const struct aws_sts_answer *answer,
                                const char *const *secrets, size_t count);

#endif
