/*
 * The services next to curt that hand out its role's credentials, each a source
 * of credentials (source.h): the agent beside a container (ECS, EKS Pod
 * Identity, Greengrass; AWS SDKs and Tools Reference Guide, "Container
 * credential provider"), and the EC2 instance metadata service, only version 2:
 * a token is requested first, and every request carries it (Amazon EC2 User
 * Guide, "Use the Instance Metadata Service").
 */
#ifndef CURT_AWS_METADATA_H
#define CURT_AWS_METADATA_H

#include "aws/source.h"

/* Appends the document of the instance metadata service at path, such as
 * "/latest/meta-data/placement/region", to out, which the caller wipes. The
 * service is at AWS_EC2_METADATA_SERVICE_ENDPOINT, else at the address of
 * AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE. RESULT_NOT_FOUND: the service is
 * disabled (AWS_EC2_METADATA_DISABLED), does not answer or does not support
 * IMDSv2, or the document does not exist or is empty. RESULT_DENIED: it refuses
 * (403), or its configured endpoint is not valid. RESULT_UNAVAILABLE: no usable
 * answer, or the deadline of request has passed. reason has the cause. */
enum result aws_metadata_read(const struct aws_source_request *request,
                              const char *path, struct buf *out,
                              struct buf *reason) MUST_CHECK;

#endif
