/*
 * AWS Security Token Service: temporary keys for a role (AWS STS API
 * Reference, AssumeRole and AssumeRoleWithWebIdentity, version 2011-06-15).
 */
#ifndef CURT_AWS_STS_H
#define CURT_AWS_STS_H

#include "aws_source.h"

/* A session's name and its NUL: 2 to 64 of A-Z a-z 0-9 _ + = , . @ - */
#define AWS_STS_SESSION_SIZE 65

/* Which role, and under which name. Strings belong to the caller. */
struct aws_sts_role {
    const char *arn;
    const char *session;     /* NULL: aws_sts_session() of this host */
    const char *external_id; /* NULL: none; AssumeRole only */
    const char *region;      /* where STS is asked, and what is signed; NULL:
                              * the global endpoint, us-east-1 */
    const char *duration;    /* seconds, as text; NULL: STS's default */
};

/* Asks for temporary keys with a web identity token, unsigned. On RESULT_OK
 * out->where is "role ARN (STS)", for the caller to replace by mem_dup()ed
 * text that says more. Results as for an aws_source, never RESULT_NOT_FOUND;
 * what STS refuses is RESULT_DENIED with its error code and message, what it
 * cannot do now RESULT_UNAVAILABLE, as is an answer that cannot be used, or
 * keys that have expired already. An answer of IDPCommunicationError, a
 * throttled or a 5xx one, and a connection fault are tried again within the
 * deadline, at most 3 times in all. */
enum result aws_sts_web_identity(const struct aws_source_request *request,
                                 const struct aws_sts_role *role,
                                 const char *token, struct aws_found *out,
                                 struct buf *reason) MUST_CHECK;

/* Asks for temporary keys with other keys, signed with them. */
enum result aws_sts_assume_role(const struct aws_source_request *request,
                                const struct aws_sts_role *role,
                                const struct aws_keys *keys,
                                struct aws_found *out,
                                struct buf *reason) MUST_CHECK;

/* The name of a session that curt begins on the host of that name: "curt-"
 * and the name, in which '-' stands for what cannot be in a session's. */
void aws_sts_session(const char *host, char session[AWS_STS_SESSION_SIZE]);

#endif
