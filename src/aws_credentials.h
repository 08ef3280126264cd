/*
 * The credentials for AWS: the chain of sources in the SDKs' order, asked when
 * keys are needed, kept until shortly before they expire, and shared by the
 * processes of a host: one of them asks, the others take what it got, or wait
 * for it, or are told why it got none.
 *
 * What is shared is in RUNTIME_DIR/credentials, which nobody but its owner can
 * read, and which core dumps leave out (aws_share.h). The keys of the
 * configuration and of lasting profiles are not put there: each process has
 * them anyway. Nor are keys whose session token has more than 16 KiB.
 *
 * Keys that expire are due for renewal some time before (aws_refresh.h). The
 * janitor sees to it, with aws_credentials_tend(); a worker does it in the
 * last minute only, and nobody waits for it as long as the keys are good. They
 * are never used past their end. A source that failed is left alone for one to
 * five seconds, and for up to a minute while the keys that are there are good.
 */
#ifndef CURT_AWS_CREDENTIALS_H
#define CURT_AWS_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "aws_sign.h"
#include "buf.h"
#include "conf.h"
#include "result.h"

struct aws_credentials;

/* A provider for one thread of one process; conf must outlive it. shared:
 * with the other processes of this host. No I/O; never fails. */
struct aws_credentials *aws_credentials_new(const struct conf *conf,
                                            bool shared);

/* Releases, secrets wiped; NULL is allowed. */
void aws_credentials_free(struct aws_credentials *c);

/* The keys to sign with now; asks the sources if there are none or they are
 * about to expire, until deadline (clock_monotonic_ms()) at most, or until half
 * of that time is over when there are keys that are still valid: those are used
 * when a refresh fails. The strings belong to c and are valid until the next
 * call on it. Otherwise *out is empty and aws_credentials_error() says why.
 * RESULT_DENIED: somebody has to mend something. RESULT_UNAVAILABLE: a source
 * did not answer; it is not asked again for a moment. */
enum result aws_credentials_get(struct aws_credentials *c, int64_t deadline,
                                struct aws_keys *out) MUST_CHECK;

/* The server said that the keys of the last aws_credentials_get() have
 * expired, or that it does not know them: the next one asks the sources anew,
 * unless another process has done so already. False: there is no point in
 * trying again now, as it would give the same keys: those of the configuration
 * never change, and others came, or could not be had, only a moment ago. */
bool aws_credentials_expire(struct aws_credentials *c);

/* Refreshes the keys ahead of time if it is time, so that no request has to
 * wait for it: the janitor calls this every few seconds, with some seconds of
 * time. A fault is logged, once until it is over. */
void aws_credentials_tend(struct aws_credentials *c, int64_t deadline);

/* Where the keys of the last successful aws_credentials_get() came from
 * ("shared files (profile default in /root/.aws/credentials)"), empty before;
 * and when they expire, in epoch seconds, 0 for never. */
const char *aws_credentials_source(const struct aws_credentials *c);
int64_t aws_credentials_expires(const struct aws_credentials *c);

/* Why there are none: what was looked at, in order, and why each did not
 * serve. One line, without secrets; valid until the next call. */
const char *aws_credentials_error(const struct aws_credentials *c);

/* Whether text has one of the secrets in it that are in use. */
bool aws_credentials_shown_in(const struct aws_credentials *c,
                              const char *text);

#endif
