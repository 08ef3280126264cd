/*
 * The sources of credentials: each knows one place where AWS's SDKs look, and
 * nothing of the others, of keeping or of sharing. aws_credentials.c asks them
 * in the SDKs' order (AWS SDKs and Tools Reference Guide, "Standardized
 * credential providers").
 */
#ifndef CURT_AWS_SOURCE_H
#define CURT_AWS_SOURCE_H

#include <stdint.h>

#include "aws_sign.h"
#include "buf.h"
#include "conf.h"
#include "http_client.h"
#include "result.h"

/* What a source is asked with. */
struct aws_source_request {
    const struct conf *conf;
    struct http_client *http; /* to ask with, where a source asks the network */
    /* A moment of clock_monotonic_ms() at which the source gives up. */
    int64_t deadline;
};

/* What a source has. Zeroed memory is an empty one. */
struct aws_found {
    char *id;        /* all three are secrets, released by */
    char *secret;    /* aws_found_free() */
    char *token;     /* NULL for lasting keys */
    int64_t expires; /* epoch seconds; 0: never */
    char *where;     /* for the operator, without secrets: "profile default in
                      * /root/.aws/credentials" */
};

/* Wipes and releases; empty again afterwards. */
void aws_found_free(struct aws_found *found);

/* Asks one source. RESULT_OK: *out is filled; the caller releases it.
 * RESULT_NOT_FOUND: it is not configured, so the next source is asked; reason
 * says what was looked at and why it did not serve: "AWS_ACCESS_KEY_ID is not
 * set". Any other result: it is configured and failed, so no other source is
 * asked; reason says why and what to mend. RESULT_UNAVAILABLE may be gone in a
 * moment; RESULT_DENIED stays until somebody mends it. No secret is ever in
 * reason. On failure *out is empty. */
typedef enum result aws_source(const struct aws_source_request *request,
                               struct aws_found *out, struct buf *reason);

/* AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. */
aws_source aws_source_environment;
/* AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN: STS. */
aws_source aws_source_web_identity;
/* The profile of the shared files: keys, credential_process, role_arn with
 * source_profile or credential_source, web identity. */
aws_source aws_source_profile;
/* AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI (ECS, EKS). */
aws_source aws_source_container;
/* EC2 instance metadata, IMDSv2. */
aws_source aws_source_instance;

/* ---- For the sources ------------------------------------------------- */

/* Takes keys over into *out, whose strings are copies, and whose former content
 * is not released. RESULT_DENIED, and reason, when one of them is missing,
 * empty or has a character that cannot stand in a header. token may be NULL or
 * empty: lasting keys. expires: epoch seconds, 0 for never. what names the keys
 * in reason and becomes out->where: "profile default in
 * /root/.aws/credentials". */
enum result aws_found_take(struct aws_found *out, const struct aws_keys *keys,
                           int64_t expires, const char *what,
                           struct buf *reason) MUST_CHECK;

/* Reads the JSON document that the container and metadata services answer
 * with: AccessKeyId, SecretAccessKey, Token or SessionToken, Expiration (RFC
 * 3339; absent or null: never); names in any case, unknown ones ignored. The
 * document is len bytes of text and nothing else. RESULT_DENIED, and reason:
 * it is none, or says that there are no keys: a Code that is not Success.
 * Reason shows that if it is a plain name, and never the Message: what answers
 * may repeat the token that it was asked with. what as above. */
enum result aws_found_read_json(struct aws_found *out, const char *text,
                                size_t len, const char *what,
                                struct buf *reason) MUST_CHECK;

/* The same for what a credential_process prints, which needs "Version": 1 as
 * well (AWS SDKs and Tools Reference Guide, "Process credential provider"). */
enum result aws_found_read_process(struct aws_found *out, const char *text,
                                   size_t len, const char *what,
                                   struct buf *reason) MUST_CHECK;

/* Reads a moment such as 2026-11-23T07:00:00Z (a fraction and +hh:mm are
 * allowed: RFC 3339) as epoch seconds; false if it is none. */
bool aws_found_read_time(const char *text, int64_t *out);

/* Reads a small text file, at most max bytes, without the white space at its
 * end; the caller releases it with mem_free_secret(). NULL, and errno, if it
 * cannot be read; E2BIG if it is larger, EILSEQ if it has a NUL byte. */
char *aws_found_read_file(const char *path, size_t max);

#endif
