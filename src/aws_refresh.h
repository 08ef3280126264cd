/*
 * When keys that expire are to be replaced, and how long a source is left alone
 * after a failure. Decisions alone: no clock is read here, nothing is asked.
 *
 * As the SDKs do it: a good while before the end somebody tries without making
 * anybody wait; shortly before it everybody does. A moment has passed when
 * either clock says so: the wall clock, by which the server judges, may step,
 * and the other one never does.
 */
#ifndef CURT_AWS_REFRESH_H
#define CURT_AWS_REFRESH_H

#include <stdbool.h>
#include <stdint.h>

/* How long before their end keys are due, and how long before it they must be
 * replaced, in seconds; for short lives a third and a sixth of what is left. */
#define AWS_REFRESH_DUE  900
#define AWS_REFRESH_MUST 60

/* The longest that a failure is remembered against those who have no keys, in
 * milliseconds. */
#define AWS_REFRESH_MEMORY_MS 5000

/* Now, by both clocks. */
struct aws_refresh_now {
    int64_t s;  /* clock_now() */
    int64_t ms; /* clock_monotonic_ms() */
};

/* A moment, by both clocks. */
struct aws_refresh_plan {
    int64_t due, due_ms;
    int64_t must, must_ms;
    int64_t over, over_ms; /* over 0: never, and the others mean nothing */
};

enum aws_refresh_stage {
    AWS_REFRESH_STAGE_FRESH,
    AWS_REFRESH_STAGE_DUE,  /* replaced by whoever has the time */
    AWS_REFRESH_STAGE_MUST, /* still good; replaced by whoever needs them */
    AWS_REFRESH_STAGE_OVER  /* never used again */
};

/* The plan for keys that end at expires (epoch seconds; 0: never) and that a
 * source gave now. dice, any random number, spreads the hosts: keys are due up
 * to a third later than AWS_REFRESH_DUE says. */
struct aws_refresh_plan
aws_refresh_make(int64_t expires, struct aws_refresh_now now, uint32_t dice);

enum aws_refresh_stage aws_refresh_stage(const struct aws_refresh_plan *plan,
                                         struct aws_refresh_now now);

/* How long a source is left alone after failures (at least one) in a row, in
 * milliseconds: doubling, from a second to a minute for those who have keys
 * meanwhile, to AWS_REFRESH_MEMORY_MS for those who have none. dice takes up
 * to half of it off. */
int64_t aws_refresh_pause(unsigned failures, bool have_keys, uint32_t dice);

#endif
