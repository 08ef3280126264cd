/*
 * The sources of credentials in the order of AWS's SDKs: environment, web
 * identity, shared files, container, instance metadata. The first configured
 * one decides, whether it succeeds or fails. Nothing is kept here.
 */
#ifndef CURT_AWS_CHAIN_H
#define CURT_AWS_CHAIN_H

#include <stdint.h>

#include "aws/source.h"
#include "base/buf.h"
#include "base/result.h"
#include "config/conf.h"

/* Queries the sources, until deadline (clock_monotonic_ms()) at most.
 * RESULT_OK: *found is filled, its where begins with the name of the source
 * ("shared files (profile default in /root/.aws/credentials)"), and the caller
 * releases it. Otherwise *found is
 * empty and error, cut where it does not fit, has the reason: of the source
 * that failed, or of all in order when none is configured. RESULT_DENIED: the
 * operator must fix something. RESULT_UNAVAILABLE: a later call may succeed. */
enum result aws_chain_ask(const struct conf *conf, int64_t deadline,
                          struct aws_found *found,
                          struct buf *error) MUST_CHECK;

#endif
