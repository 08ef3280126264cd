/*
 * The credentials for AWS: fetched from the first configured source of the
 * SDKs' order, kept until they expire, and shared by the processes of a host.
 *
 * Those that expire are shared in RUNTIME_DIR/credentials
 * (credentials_file.h). The janitor fetches the next ones ahead of time
 * with aws_credentials_tend(), and every process takes what is in the file. A
 * process fetches for itself, and publishes, only when it has no valid
 * credentials or when the server has refused them. One process does this at a
 * time; the others wait for half of their time at most, so that a stopped
 * process stops no other.
 *
 * Those that never expire are not shared: each process reads them.
 *
 * A source that failed is not queried again for one to five seconds. The
 * janitor does not wait for the failures of others: where a source takes
 * longer than a worker's time, it has the time.
 */
#ifndef CURT_AWS_CREDENTIALS_H
#define CURT_AWS_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/sign.h"
#include "base/result.h"
#include "config/conf.h"

/* How long before they expire credentials are renewed, in seconds: a third of
 * the life that they have left, but at least and at most this. Up to a third of
 * the result is taken off at random, so that not all hosts do it at once. The
 * minimum is for a source that has no new ones yet: it is queried every second
 * then, and the janitor may be late because of a flush. */
#define AWS_CREDENTIALS_RENEW_MIN 5
#define AWS_CREDENTIALS_RENEW_MAX 900

struct aws_credentials;

/* A provider for one thread of one process; conf must outlive it. shared: with
 * the other processes of this host. No I/O; never fails. */
struct aws_credentials *aws_credentials_new(const struct conf *conf,
                                            bool shared);

/* Releases, secrets wiped; NULL is allowed. */
void aws_credentials_free(struct aws_credentials *c);

/* The credentials to sign with now. Fetches them if there are none or if they
 * have expired, until deadline (clock_monotonic_ms()) at most; if the server
 * has refused them, until half of that time is over, and they stay if that
 * fails. The strings belong to c and are valid until the next call on it.
 * Otherwise *out is empty and aws_credentials_error() has the reason.
 * RESULT_DENIED: the operator must fix something. RESULT_UNAVAILABLE: a source
 * did not answer; a later call may succeed. */
enum result aws_credentials_get(struct aws_credentials *c, int64_t deadline,
                                struct aws_keys *out) MUST_CHECK;

/* The server has refused the credentials of the last aws_credentials_get() as
 * expired or unknown: the next one fetches others, unless another process has
 * done so already. False: it would give the same ones, so the request must not
 * be repeated: those of the configuration never change, and others were
 * fetched, or could not be, only a moment ago. */
bool aws_credentials_expire(struct aws_credentials *c);

/* Fetches the next credentials if it is time: the janitor calls this every
 * second. A failure is logged once until a fetch succeeds. */
void aws_credentials_tend(struct aws_credentials *c, int64_t deadline);

/* The source of the last credentials ("shared files (profile default in
 * /root/.aws/credentials)"), empty before; and when they expire, in epoch
 * seconds, 0 for never. */
const char *aws_credentials_source(const struct aws_credentials *c);
int64_t aws_credentials_expires(const struct aws_credentials *c);

/* Why the last aws_credentials_get() failed. One line, without secrets; valid
 * until the next call. */
const char *aws_credentials_error(const struct aws_credentials *c);

/* Whether text contains one of the secrets in use. */
bool aws_credentials_shown_in(const struct aws_credentials *c,
                              const char *text);

#endif
