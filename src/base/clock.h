/* Time: of the wall clock, of a clock that never steps, and as measured; as
 * text; and random bits that spread load over time. */
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

/* ---- The measured time ----------------------------------------------- */

/*
 * How late it is at least, whatever the system's clock shows: what is removed
 * for good is removed by this time.
 *
 * The wall clock can jump: a wrong time server, a battery that is empty, a
 * machine that was suspended. So there is a measured time, kept in
 * STATE_DIR/clock. It goes forward with the monotonic clock, never back, and
 * never past the wall clock. Where the wall clock is ahead it catches up by at
 * most a second per second, and only while a janitor watches it; after a day of
 * that the wall clock is believed. So a clock that is wrong for less than a day
 * moves it by less than a day, which is STORE_KEEP_EXPIRED: nothing that is
 * still valid is removed.
 */
struct clock_measured {
    int64_t time;    /* seconds since the epoch; 0: not known */
    int64_t uptime;  /* of the machine at that time, in seconds, also those in
                      * which it slept */
    uint64_t boot;   /* of which boot: mapfile_boot() */
    int64_t watched; /* seconds for which the wall clock has been ahead */
};

/* Brings w up to date. wall, uptime and boot: what the clocks show now. Between
 * two boots no time is known to have passed. w->time 0: wall is believed. */
void clock_measure_step(struct clock_measured *w, int64_t wall, int64_t uptime,
                        uint64_t boot);

/* The same with what the clocks of this machine show. */
void clock_measure(struct clock_measured *w);

/* Reads dir/clock. False: there is none, or it is not one; *w is zero. */
bool clock_load(const char *dir, struct clock_measured *w);

/* Writes dir/clock: the old contents or the new ones, at any moment. False,
 * and errno, where that fails. */
bool clock_save(const char *dir, const struct clock_measured *w);

/* For how long a wall clock that is ahead is watched, in seconds. */
#define CLOCK_AHEAD_WAIT 86400

/* Differences that are logged, in seconds: a wall clock that is
 * further ahead, also after the machine was off, or further behind. */
#define CLOCK_AHEAD  21600
#define CLOCK_BEHIND 600

#endif
