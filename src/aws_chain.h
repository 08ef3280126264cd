/*
 * The sources of credentials in the order of AWS's SDKs: environment, web
 * identity, shared files, container, instance metadata. The first that is
 * configured decides, whether it serves or fails. Nothing is kept here.
 */
#ifndef CURT_AWS_CHAIN_H
#define CURT_AWS_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws_source.h"
#include "buf.h"
#include "conf.h"
#include "result.h"

/* The first source: the configuration's own keys. */
#define AWS_CHAIN_ENVIRONMENT 0

/* The name of a source: "shared files". Static storage. */
const char *aws_chain_name(size_t source);

/* Asks the sources, until deadline (clock_monotonic_ms()) at most. RESULT_OK:
 * *found is filled, the caller releases it, and *source is whose it is. What
 * has expired already is not taken. Otherwise error, cut where it does not
 * fit, says why: of the one that failed, or of all in order when none is
 * configured. RESULT_DENIED: somebody has to mend something.
 * RESULT_UNAVAILABLE: it may be gone in a moment. */
enum result aws_chain_ask(const struct conf *conf, int64_t deadline,
                          struct aws_found *found, size_t *source,
                          struct buf *error) MUST_CHECK;

/* Asks the first source alone, which takes no I/O. RESULT_NOT_FOUND: it is not
 * configured; otherwise as above. */
enum result aws_chain_ask_environment(const struct conf *conf,
                                      struct aws_found *found,
                                      struct buf *error) MUST_CHECK;

#endif
