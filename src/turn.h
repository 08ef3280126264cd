/*
 * Taking turns: one process of this host at a time, the others asleep in the
 * kernel until it is done.
 *
 * SQLite's own way to wait for a writer is to sleep, longer each time, while
 * others pass; some writers would wait for most of a second. The turn only
 * puts them in line: SQLite's lock is what keeps the file whole.
 */
#ifndef CURT_TURN_H
#define CURT_TURN_H

#include <stdbool.h>
#include <stdint.h>

struct turn;

/* The turn that processes share by the mapped file dir/name; NULL if it cannot
 * be opened, or for root in the directory of another user, and then nobody
 * waits here. turn_close(NULL) is allowed. */
struct turn *turn_open(const char *dir, const char *name);
void turn_close(struct turn *t);

/* Waits for the turn, half a second at most, and not beyond limit
 * (clock_monotonic_ms()). False: it was not available (its holder is stopped,
 * or t is NULL), go on without and do not give it back. The turn of a holder
 * that dies goes to the next. */
bool turn_take(struct turn *t, int64_t limit);
void turn_give(struct turn *t);

#endif
