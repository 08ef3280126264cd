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
    const char *session;     /* NULL: aws_sts_session() of this host */
    const char *external_id; /* NULL: none; AssumeRole only */
    const char *region;      /* of STS, and of the signature; NULL: the global
                              * endpoint, us-east-1 */
    const char *duration;    /* seconds, as text; NULL: STS's default */
};

/* Requests temporary credentials with a web identity token, unsigned. On
 * RESULT_OK out->where is "role ARN (STS)"; the caller may replace it by
 * mem_dup()ed text. Results as of an aws_source, never RESULT_NOT_FOUND.
 * RESULT_DENIED: STS refuses; reason has its error code and message.
 * RESULT_UNAVAILABLE: STS cannot answer now, the answer is unusable, or the
 * credentials have expired. IDPCommunicationError, a throttled or a 5xx answer
 * and a connection fault are retried within the deadline, at most 3 attempts in
 * all. */
enum result aws_sts_web_identity(const struct aws_source_request *request,
                                 const struct aws_sts_role *role,
                                 const char *token, struct aws_found *out,
                                 struct buf *reason) MUST_CHECK;

/* The same with other credentials, which sign the request. */
enum result aws_sts_assume_role(const struct aws_source_request *request,
                                const struct aws_sts_role *role,
                                const struct aws_keys *keys,
                                struct aws_found *out,
                                struct buf *reason) MUST_CHECK;

/* The name of curt's session on the host of that name: "curt-" and the name,
 * with
 * '-' in place of each invalid character. */
void aws_sts_session(const char *host, char session[AWS_STS_SESSION_SIZE]);

#endif
