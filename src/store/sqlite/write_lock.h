/*
 * The queue of SQLite's writers on this host: one process writes, the others
 * sleep in the kernel until it is done.
 *
 * SQLite's own way to wait for a writer is to sleep, longer each time, while
 * others pass; some writers would wait for most of a second. This lock only
 * orders them: SQLite's lock is what keeps the file whole.
 */
#ifndef CURT_WRITE_LOCK_H
#define CURT_WRITE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

struct write_lock;

/* The lock that processes share by the mapped file dir/name; NULL if it cannot
 * be opened, or for root in the directory of another user: then there is no
 * queue. write_lock_close(NULL) is allowed. */
struct write_lock *write_lock_open(const char *dir, const char *name);
void write_lock_close(struct write_lock *w);

/* Waits for the lock, half a second at most, and not beyond limit
 * (clock_monotonic_ms()). False: it was not available (its holder is stopped,
 * or w is NULL); go on without it and do not release it. The lock of a holder
 * that dies goes to the next. */
bool write_lock_take(struct write_lock *w, int64_t limit);
void write_lock_release(struct write_lock *w);

#endif
