/*
 * The EC2 instance metadata service, version 2 only: a token is asked for
 * first, and every question carries it (Amazon EC2 User Guide, "Use the
 * Instance Metadata Service").
 */
#ifndef CURT_AWS_IMDS_H
#define CURT_AWS_IMDS_H

#include "aws_source.h"

/* How long the service may take for one answer, in milliseconds, and how often
 * it is asked: away from EC2 nobody answers, so this must not take long. One
 * second as AWS's SDKs; they differ in the attempts (1 to 3). */
#define AWS_IMDS_TIMEOUT  1000
#define AWS_IMDS_ATTEMPTS 2

/* The service, with a token to ask it. */
struct aws_imds;

/* Gets a token: at AWS_EC2_METADATA_SERVICE_ENDPOINT, else at the address of
 * AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE. request must outlive it.
 * RESULT_NOT_FOUND: the service is switched off (AWS_EC2_METADATA_DISABLED),
 * nobody answers there, or what answers has no IMDSv2; reason says which.
 * RESULT_DENIED: it refuses (403), or its configured endpoint is no URL.
 * RESULT_UNAVAILABLE: it answered, but with no token, or the
 * time of request was over before it could. On RESULT_OK the caller
 * releases *out with aws_imds_close(), otherwise *out is NULL. */
enum result aws_imds_open(const struct aws_source_request *request,
                          struct aws_imds **out, struct buf *reason) MUST_CHECK;

/* Appends the document at path, such as "/latest/meta-data/placement/region",
 * to out, which the caller wipes. A token that is not accepted is replaced
 * once. RESULT_NOT_FOUND: there is no such document, or it is empty.
 * RESULT_DENIED: it is refused (403). RESULT_UNAVAILABLE: no usable answer. */
enum result aws_imds_get(struct aws_imds *imds, const char *path,
                         struct buf *out, struct buf *reason) MUST_CHECK;

/* Releases, the token wiped; NULL is allowed. */
void aws_imds_close(struct aws_imds *imds);

/* All three for one document; results as of the first two. */
enum result aws_imds_read(const struct aws_source_request *request,
                          const char *path, struct buf *out,
                          struct buf *reason) MUST_CHECK;

#endif
