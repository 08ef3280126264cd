/*
 * Sources of credentials that do what a test says: they are linked in the place
 * of curt's own, except for the environment. Every process sees the same orders
 * and counts.
 */
#ifndef CURT_TEST_AWS_STANDIN_H
#define CURT_TEST_AWS_STANDIN_H

#include <stdint.h>

#include "aws_sign.h"
#include "result.h"

enum {
    STANDIN_WEB = 1,
    STANDIN_PROFILE,
    STANDIN_CONTAINER,
    STANDIN_INSTANCE,
    STANDINS
};

/* What a source is to do. All zeros: it gives lasting keys. */
struct standin {
    _Atomic int result;          /* enum result */
    _Atomic int64_t life;        /* of the keys, in seconds; 0: lasting */
    _Atomic unsigned delay_ms;   /* it takes so long, or until the deadline */
    _Atomic unsigned token_size; /* of the token; 0: a short one */
    _Atomic unsigned calls;      /* begun */
    _Atomic unsigned gave;       /* keys, each with a number of its own */
};

/* Shared memory; standin_reset() makes it. */
extern struct standin *standins;

/* All sources are not configured and were never asked. */
void standin_reset(void);

/* One source has keys that live so long. */
void standin_serve(unsigned source, int64_t life);

/* How often sources were asked for more than "not configured". */
unsigned standin_calls(void);

/* The number of keys that a stand-in gave, whose id, secret and token all say
 * the same; 0 if they do not. */
unsigned standin_number(const struct aws_keys *keys);

#endif
