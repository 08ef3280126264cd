/*
 * Where DynamoDB and STS are: the endpoints that AWS's SDKs resolve for a
 * region (partitions, FIPS, dual stack), or those that the configuration
 * names; and which of several is used now. No I/O.
 *
 * The rules are those of the SDKs' endpoint rule sets and partitions.json. Each
 * URL from here ends with exactly one '/', so requests go to it as it is.
 */
#ifndef CURT_AWS_ENDPOINT_H
#define CURT_AWS_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "conf.h"
#include "result.h"

/* Most endpoints that AWS_ENDPOINT_URL_DYNAMODB may list. */
#define AWS_ENDPOINTS_MAX 32

/* How long an endpoint that failed is set aside, in milliseconds, while
 * another one is there. */
#define AWS_ENDPOINT_ASIDE_MS 10000

/* Whether region can be a region's name (a host label: lower-case letters,
 * digits, '-', which is neither first nor last; 1 to 63 of them). NULL: no. */
bool aws_endpoint_is_region(const char *region);

/* The region to sign for: region itself, but us-east-1 for the SDKs' names
 * that are no places ("aws-global", "local") and for NULL. */
const char *aws_endpoint_signing_region(const char *region);

/* The URL of AWS's own endpoint for service ("dynamodb", "sts") in region, a
 * name that aws_endpoint_is_region(). A region that is not known yet is taken
 * for one of the partition that its name belongs to. "local" is DynamoDB Local
 * at its usual port, as in the SDKs. The caller frees it. */
char *aws_endpoint_of_region(const char *service, const char *region, bool fips,
                             bool dual_stack);

/* What AWS_ENDPOINT_URL_DYNAMODB, else AWS_ENDPOINT_URL says; NULL: neither
 * is set, or to nothing. */
const char *aws_endpoint_configured(const struct conf *conf);

/* The URL of STS, which the caller frees: AWS_ENDPOINT_URL_STS, else the
 * (first) one of AWS_ENDPOINT_URL, else AWS's own in region with conf's FIPS
 * and dual stack (NULL or no region's name: the global one, or us-east-1's,
 * which it is, where one of those two is asked for). A configured one has not
 * been checked. */
char *aws_endpoint_sts(const struct conf *conf, const char *region);

/* The endpoints of DynamoDB, for one thread of one process. */
struct aws_endpoints;

/* Those that conf names, separated by commas, else AWS's own in region (which
 * may be NULL only where conf names some). RESULT_DENIED: what conf names
 * cannot be used, or together with FIPS or dual stack, which the SDKs refuse
 * too; or there is no usable region; reason, without the URL, which may hold a
 * password, says which and why. *out is NULL then. On RESULT_OK the caller
 * releases *out with aws_endpoints_free(). start: which of them is the first to
 * be used is chosen by it, so that the processes of all hosts spread over
 * them. */
enum result aws_endpoints_new(const struct conf *conf, const char *region,
                              uint64_t start, struct aws_endpoints **out,
                              struct buf *reason) MUST_CHECK;

/* Releases; NULL is allowed. */
void aws_endpoints_free(struct aws_endpoints *e);

/* One endpoint of them, as a number that is valid as long as e. There is at
 * least one. */
size_t aws_endpoints_count(const struct aws_endpoints *e);
const char *aws_endpoints_url(const struct aws_endpoints *e, size_t i);
/* It is on this host, where no proxy can be in between. */
bool aws_endpoints_is_loopback(const struct aws_endpoints *e, size_t i);

/* The one to use now (now_ms: clock_monotonic_ms()): the next one in turn that
 * is not set aside, so that requests are spread over all; if all are, the one
 * whose time is over first. */
size_t aws_endpoints_choose(struct aws_endpoints *e, int64_t now_ms);

/* How using it went: it did not answer, and is set aside for a while; or it
 * did. True: this is a change (worth a line in the log); it stays failed, also
 * when its time is over and it is tried again, until it answers. Never true
 * where there is only one. */
bool aws_endpoints_failed(struct aws_endpoints *e, size_t i, int64_t now_ms);
bool aws_endpoints_answered(struct aws_endpoints *e, size_t i);

#endif
