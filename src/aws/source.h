/*
 * The sources of credentials: each reads one place where AWS's SDKs look.
 * credentials.c queries them in the SDKs' order (AWS SDKs and Tools Reference
 * Guide, "Standardized credential providers").
 */
#ifndef CURT_AWS_SOURCE_H
#define CURT_AWS_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/http_client.h"
#include "aws/sign.h"
#include "base/buf.h"
#include "base/result.h"
#include "config/conf.h"

/* The input of a source. */
struct aws_source_request {
    const struct conf *conf;
    struct http_client *http; /* for sources on the network */
    int64_t deadline;         /* clock_monotonic_ms() at which it gives up */
};

/* The output of a source. Zeroed memory is an empty one. */
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

/* Queries one source. RESULT_OK: *out is filled; the caller releases it.
 * RESULT_NOT_FOUND: it is not configured, so the next source is queried; reason
 * names what is missing: "AWS_ACCESS_KEY_ID is not set". Any other result: it
 * is configured and failed, so no other source is queried; reason has the cause
 * and the remedy. RESULT_UNAVAILABLE: a later call may succeed. RESULT_DENIED:
 * the operator must fix something. Reason never has a secret in it. On failure
 * *out is empty. */
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

/* Whether s has only visible ASCII, so that it can stand in a header and in a
 * signature; an empty one has. */
bool aws_source_is_visible(const char *s);

/* Copies credentials into *out, whose former content is not released.
 * RESULT_DENIED, and reason: one of them is missing, empty or not visible
 * ASCII. RESULT_UNAVAILABLE, and reason: they have expired. token may be NULL
 * or empty. expires: epoch seconds, 0 for never. what names the credentials in
 * reason and becomes out->where: "profile default in /root/.aws/credentials".
 */
enum result aws_found_take(struct aws_found *out, const struct aws_keys *keys,
                           int64_t expires, const char *what,
                           struct buf *reason) MUST_CHECK;

/* Reads the JSON document of a container or metadata service or of a
 * credential_process: AccessKeyId, SecretAccessKey, Token or SessionToken,
 * Expiration (RFC 3339; absent or null: never); names in any case, unknown ones
 * ignored. version: the number that "Version" must have, 0 for none (a process
 * has 1: AWS SDKs and Tools Reference Guide, "Process credential provider").
 * Results as of aws_found_take(). RESULT_DENIED also where it is not such a
 * document, or has a Code other than Success. Reason shows the code only if it
 * consists of letters, and never the Message, which may repeat a token. */
enum result aws_found_read_json(struct aws_found *out, const char *text,
                                size_t len, int version, const char *what,
                                struct buf *reason) MUST_CHECK;

/* Reads a text file of at most max bytes, without the white space at its end;
 * the caller releases it with mem_free_secret(). NULL and errno: it cannot be
 * read; E2BIG: it is larger; EILSEQ: it has a NUL byte. */
char *aws_found_read_file(const char *path, size_t max);

/* Reads a file with a token, likewise. NULL, and reason, which begins with
 * setting and path: it cannot be read, or does not contain one. */
char *aws_found_read_token(const char *setting, const char *path,
                           struct buf *reason);

/* Runs the command of a credential_process (AWS SDKs and Tools Reference Guide,
 * "Process credential provider") with /bin/sh and appends its standard output
 * to out (which holds secrets: the caller wipes it). Its standard input is
 * empty, its standard error is discarded because it may contain secrets, and it
 * inherits no descriptor of this process. It has the environment of this
 * process, without AWS_ variables that are empty: to curt they are absent. At
 * deadline (clock_monotonic_ms()) it is killed with all processes of its group.
 * RESULT_OK: it ended with status 0. RESULT_UNAVAILABLE: it did not end in
 * time. RESULT_DENIED: it ended otherwise, or printed more than fits into out,
 * and is then killed in the same way. Unless RESULT_OK, nothing is appended and
 * reason has the cause, without the command or its output. */
enum result aws_source_run(const char *command, int64_t deadline,
                           struct buf *out, struct buf *reason) MUST_CHECK;

#endif
