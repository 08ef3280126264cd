/* Time, in the two forms that curt uses, and as text; and what spreads load
 * over time. */
#ifndef CURT_CLOCK_H
#define CURT_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* "2018-11-29T00:05:02" and its NUL. */
#define CLOCK_TEXT_SIZE 32

/* Seconds since the epoch, UTC. */
int64_t clock_now(void);

/* Milliseconds of a clock that never steps; only differences mean anything. */
int64_t clock_monotonic_ms(void);

/* Seconds since the machine was started, also those in which it slept. */
int64_t clock_uptime(void);

/* Waits so many milliseconds, 0 or less not at all; a signal that is handled
 * cuts it short. */
void clock_pause_ms(int64_t ms);

/* Writes t as "2018-11-29T00:05:02", in UTC and without a zone, which is how
 * the item's created_at is stored (DESIGN: "A link, as stored"). */
void clock_text(int64_t t, char text[CLOCK_TEXT_SIZE]);

/* Reads an RFC 3339 time such as 2026-11-23T07:00:00Z, with a fraction or an
 * offset +hh:mm where it has one, as seconds since the epoch. False, and *t
 * unchanged: it is not one. */
bool clock_parse(const char *text, int64_t *t);

/* 32 random bits that only spread load over time: nothing secret depends on
 * them. Where the kernel has none yet, they are those of the clock. */
uint32_t clock_jitter(void);

#endif
