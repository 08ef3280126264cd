/*
 * Sources of credentials that do what a test says: they are linked in the place
 * of curt's own, except for the environment. Every process sees the same orders
 * and counts.
 */
#ifndef CURT_TEST_FAKE_SOURCES_H
#define CURT_TEST_FAKE_SOURCES_H

#include <stdint.h>

#include "aws/sign.h"
#include "base/result.h"

enum {
    SOURCE_WEB = 1,
    SOURCE_PROFILE,
    SOURCE_CONTAINER,
    SOURCE_INSTANCE,
    SOURCES
};

/* What a source does. All zeros: it returns keys without an end. */
struct fake_source {
    _Atomic int result;        /* enum result */
    _Atomic int64_t life;      /* of the keys, in seconds; 0: no end */
    _Atomic unsigned delay_ms; /* before the result, at most to the deadline */
    _Atomic unsigned token_size; /* of the token; 0: a short one */
    _Atomic unsigned calls;      /* started */
    _Atomic unsigned gave;       /* keys returned, each with its own number */
};

/* Shared memory; fake_sources_reset() makes it. */
extern struct fake_source *fake_sources;

/* Makes all sources unconfigured, with no calls. */
void fake_sources_reset(void);

/* Gives one source keys that live so many seconds. */
void fake_source_serve(unsigned source, int64_t life);

/* The calls of all configured sources. */
unsigned fake_source_calls(void);

/* The number of keys from a fake source; 0 if id, secret and token are not of
 * one number. */
unsigned keys_number(const struct aws_keys *keys);

#endif
