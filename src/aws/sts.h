/*
 * AWS Security Token Service: temporary credentials of a role (AWS STS API
 * Reference, AssumeRole and AssumeRoleWithWebIdentity, version 2011-06-15).
 */
#ifndef CURT_AWS_STS_H
#define CURT_AWS_STS_H

#include "aws/source.h"

/* A session's name and its NUL: 2 to 64 of A-Z a-z 0-9 _ + = , . @ - */
#define AWS_STS_SESSION_SIZE 65

/* A role and its session. Strings belong to the caller. */
struct aws_sts_role {
    const char *arn;
    const char *token;       /* a web identity token, which takes the place of
                              * a signature; NULL: keys sign the request */
    const char *session;     /* NULL: aws_sts_session() of this host */
    const char *external_id; /* NULL: none; AssumeRole only */
    const char *region;      /* of STS, and of the signature; NULL: the global
                              * endpoint, us-east-1 */
    const char *duration;    /* seconds, as text; NULL: STS's default */
};

/* Requests temporary credentials with the token of role, or with keys. On
 * RESULT_OK out->where is "role ARN (STS)"; the caller may replace it by
 * mem_dup()ed text. Results as of an aws_source, never RESULT_NOT_FOUND.
 * RESULT_DENIED: STS refuses; reason has its error code and message.
 * RESULT_UNAVAILABLE: STS cannot answer now, the answer is unusable, or the
 * credentials have expired. IDPCommunicationError, a throttled or a 5xx answer
 * and a connection fault are retried within the deadline, at most 3 attempts in
 * all. */
enum result aws_sts_assume_role(const struct aws_source_request *request,
                                const struct aws_sts_role *role,
                                const struct aws_keys *keys,
                                struct aws_found *out,
                                struct buf *reason) MUST_CHECK;

/* The name of curt's session on the host of that name: "curt-" and the name,
 * with '-' in place of each invalid character. */
void aws_sts_session(const char *host, char session[AWS_STS_SESSION_SIZE]);

/* ---- Answers --------------------------------------------------------- */

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

/* Reads len bytes of any content as XML. Elements are identified by their own
 * name and that of their parent, in any namespace. RESULT_OK: all four of
 * <Credentials> are present, or a code is; the caller releases *out with
 * aws_sts_answer_free(). RESULT_CORRUPT: it is not such an answer, too large or
 * nested too deep, or it has a document type declaration, which could define
 * endless entities; *out is empty then. */
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
