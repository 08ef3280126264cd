/*
 * Which region of AWS the table is in: AWS_REGION, AWS_DEFAULT_REGION, the
 * region of the profile, and at last the region that curt runs in, from EC2
 * instance metadata (AWS SDKs and Tools Reference Guide, "AWS Region").
 */
#ifndef CURT_AWS_REGION_H
#define CURT_AWS_REGION_H

#include "aws_source.h"
#include "buf.h"
#include "conf.h"
#include "result.h"

/* Finds the region, which the caller frees. The first place that names one
 * decides. RESULT_DENIED: what it names is no region's name, a shared file
 * cannot be used, or no place names one; reason says which, or lists what was
 * looked at, in order, and why each did not serve. RESULT_UNAVAILABLE: the
 * same list, but the metadata service answered, only not this, which may be
 * otherwise in a moment. *out is NULL then. */
enum result aws_region_find(const struct aws_source_request *request,
                            char **out, struct buf *reason) MUST_CHECK;

/* The same without the network, for the caller to free; NULL: none that can
 * be used is configured. */
char *aws_region_configured(const struct conf *conf);

#endif
