/*
 * How late it is at least, whatever the system's clock shows: what is removed
 * for good is removed by this time.
 *
 * The wall clock can jump: a wrong time server, a battery that is empty, a
 * machine that was suspended. So there is a second time, kept in
 * STATE_DIR/clock. It goes forward with the monotonic clock, never back, and
 * never past the wall clock. Where the wall clock is ahead it catches up by at
 * most a second per second, and only while a janitor watches it; after a day of
 * that the wall clock is believed. So a clock that is wrong for less than a day
 * moves it by less than a day, which is STORE_KEEP_EXPIRED: nothing that is
 * still valid is removed.
 */
#ifndef CURT_WALLCLOCK_H
#define CURT_WALLCLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* For how long a wall clock that is ahead is watched, in seconds. */
#define WALLCLOCK_WAIT 86400

/* Differences that are logged, in seconds: a wall clock that is
 * further ahead, also after the machine was off, or further behind. */
#define WALLCLOCK_AHEAD  21600
#define WALLCLOCK_BEHIND 600

struct wallclock {
    int64_t time;    /* seconds since the epoch; 0: not known */
    int64_t uptime;  /* of the machine at that time, in seconds */
    uint64_t boot;   /* of which boot: mapfile_boot() */
    int64_t watched; /* seconds for which the wall clock has been ahead */
};

/* Brings w up to date. wall, uptime and boot: what the clocks show now. Between
 * two boots no time is known to have passed. w->time 0: wall is believed. */
void wallclock_step(struct wallclock *w, int64_t wall, int64_t uptime,
                    uint64_t boot);

/* The same with what the clocks of this machine show. */
void wallclock_now(struct wallclock *w);

/* Reads dir/clock. False: there is none, or it is not one; *w is zero. */
bool wallclock_load(const char *dir, struct wallclock *w);

/* Writes dir/clock: the old contents or the new ones, at any moment. False,
 * and errno, where that fails. */
bool wallclock_save(const char *dir, const struct wallclock *w);

#endif
