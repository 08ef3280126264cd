/*
 * Where DynamoDB and STS are: the region; the endpoints that AWS's SDKs resolve
 * for it (partitions, FIPS, dual stack), or those that the configuration names;
 * and which of several is used now. Only the search for a region does I/O.
 *
 * The rules are those of the SDKs' endpoint rule sets and partitions.json. Each
 * URL from here ends with exactly one '/', so requests go to it as it is.
 */
#ifndef CURT_AWS_ENDPOINT_H
#define CURT_AWS_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/source.h"
#include "base/buf.h"
#include "base/result.h"
#include "config/conf.h"

/* Most endpoints that AWS_ENDPOINT_URL_DYNAMODB may list. */
#define AWS_ENDPOINTS_MAX 32

/* How long an endpoint that failed is skipped, in milliseconds, where there are
 * others. */
#define AWS_ENDPOINT_ASIDE_MS 10000

/* Whether region can be a region's name (a host label: lower-case letters,
 * digits, '-', which is neither first nor last; 1 to 63 of them). NULL: no. */
bool aws_endpoint_is_region(const char *region);

/* Finds the region of the table, which the caller frees: AWS_REGION,
 * AWS_DEFAULT_REGION, the region of the profile, and finally the region that
 * curt runs in, from EC2 instance metadata (AWS SDKs and Tools Reference Guide,
 * "AWS Region"). The first place that names one decides. Otherwise *out is NULL
 * and reason names the fault, or lists all places in order. RESULT_DENIED: the
 * region is not valid, a shared file cannot be used, or no place names a
 * region. RESULT_UNAVAILABLE: the metadata service gave no usable answer; a
 * later call may succeed. */
enum result aws_region_find(const struct aws_source_request *request,
                            char **out, struct buf *reason) MUST_CHECK;

/* The same without the network, for the caller to free; NULL: no valid one is
 * configured. */
char *aws_region_configured(const struct conf *conf);

/* The region to sign for: region itself, but us-east-1 for the SDKs' names
 * that are not places ("aws-global", "local") and for NULL. */
const char *aws_endpoint_signing_region(const char *region);

/* The URL of AWS's own endpoint for service ("dynamodb", "sts") in region, a
 * name that aws_endpoint_is_region(). A region that is not known yet is taken
 * for one of the partition that its name belongs to. "local" is DynamoDB Local
 * at its usual port, as in the SDKs. The caller frees it. */
char *aws_endpoint_of_region(const char *service, const char *region, bool fips,
                             bool dual_stack);

/* The value of AWS_ENDPOINT_URL_DYNAMODB, else of AWS_ENDPOINT_URL; NULL: both
 * are unset. */
const char *aws_endpoint_configured(const struct conf *conf);

/* The URL of STS, which the caller frees: AWS_ENDPOINT_URL_STS, else the
 * (first) one of AWS_ENDPOINT_URL, else AWS's own in region with conf's FIPS
 * and dual stack (NULL or not a region name: the global one, or us-east-1's,
 * which it is, where one of those two is set). A configured one has not
 * been checked. */
char *aws_endpoint_sts(const struct conf *conf, const char *region);

struct aws_endpoint {
    char *url;
    bool loopback;    /* on this host, so it is reached without a proxy */
    bool failed;      /* since its last answer */
    int64_t until_ms; /* if failed, it is skipped until then */
};

/* The endpoints of DynamoDB, at least one, for one thread of one process. */
struct aws_endpoints {
    size_t count;
    size_t next; /* in turn */
    struct aws_endpoint all[AWS_ENDPOINTS_MAX];
};

/* Those that conf names, separated by commas, else AWS's own in region (which
 * may be NULL only where conf names some). RESULT_DENIED: what conf names
 * cannot be used, or not together with FIPS or dual stack, as in the SDKs; or
 * there is no usable region; reason, without the URL, which may hold a
 * password, names it and why. *out is NULL then. On RESULT_OK the caller
 * releases *out with aws_endpoints_free(). start: it chooses the first one to
 * be used, so that the processes of all hosts spread over them. */
enum result aws_endpoints_new(const struct conf *conf, const char *region,
                              uint64_t start, struct aws_endpoints **out,
                              struct buf *reason) MUST_CHECK;

/* Releases; NULL is allowed. */
void aws_endpoints_free(struct aws_endpoints *e);

/* The index of the one to use now (now_ms: clock_monotonic_ms()): the next one
 * in turn that is not skipped, so that requests are spread over all; if all
 * are, the one that is due first. */
size_t aws_endpoints_choose(struct aws_endpoints *e, int64_t now_ms);

/* Whether it answered; one that did not is skipped for AWS_ENDPOINT_ASIDE_MS.
 * True: this is a change, worth a line in the log. It counts as failed until it
 * answers. Never true where there is only one. */
bool aws_endpoints_report(struct aws_endpoints *e, size_t i, int64_t now_ms,
                          bool answered);

#endif
