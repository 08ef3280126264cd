/*
 * The EC2 instance metadata service, only version 2: a token is requested
 * first, and every request carries it (Amazon EC2 User Guide, "Use the Instance
 * Metadata Service"). The role of the instance is a source of credentials
 * (aws_source.h).
 */
#ifndef CURT_AWS_IMDS_H
#define CURT_AWS_IMDS_H

#include "aws/source.h"

/* Appends the document at path, such as "/latest/meta-data/placement/region",
 * to out, which the caller wipes. The service is at
 * AWS_EC2_METADATA_SERVICE_ENDPOINT, else at the address of
 * AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE. RESULT_NOT_FOUND: the service is
 * disabled (AWS_EC2_METADATA_DISABLED), does not answer or does not support
 * IMDSv2, or the document does not exist or is empty. RESULT_DENIED: it refuses
 * (403), or its configured endpoint is not valid. RESULT_UNAVAILABLE: no usable
 * answer, or the deadline of request has passed. reason has the cause. */
enum result aws_imds_read(const struct aws_source_request *request,
                          const char *path, struct buf *out,
                          struct buf *reason) MUST_CHECK;

#endif
