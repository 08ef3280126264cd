/*
 * The region of AWS that the table is in: AWS_REGION, AWS_DEFAULT_REGION, the
 * region of the profile, and finally the region that curt runs in, from EC2
 * instance metadata (AWS SDKs and Tools Reference Guide, "AWS Region").
 */
#ifndef CURT_AWS_REGION_H
#define CURT_AWS_REGION_H

#include "aws/source.h"
#include "base/buf.h"
#include "base/result.h"
#include "config/conf.h"

/* Finds the region, which the caller frees. The first place that names one
 * decides. Otherwise *out is NULL and reason names the fault, or lists all
 * places in order. RESULT_DENIED: the region is not valid, a shared file cannot
 * be used, or no place names a region. RESULT_UNAVAILABLE: the metadata service
 * gave no usable answer; a later call may succeed. */
enum result aws_region_find(const struct aws_source_request *request,
                            char **out, struct buf *reason) MUST_CHECK;

/* The same without the network, for the caller to free; NULL: no valid one is
 * configured. */
char *aws_region_configured(const struct conf *conf);

#endif
