/*
 * The janitor: one process per host that does the periodic work. Which one is
 * decided by a lock on STATE_DIR/janitor.lock, which the kernel releases when
 * its holder dies. A janitor whose lock file was removed stops working.
 */
#ifndef CURT_JANITOR_H
#define CURT_JANITOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config/conf.h"

/* Works until TERM, INT, QUIT or USR1, flushes and returns the exit status.
 * While another process holds the lock it waits for it (patient), or ends (not
 * patient). */
int janitor_run(const struct conf *conf, bool patient);

/* Blocks these signals before janitor_run() does. One that comes in between
 * ends it after one flush. */
void janitor_block_signals(void);

/* The descriptor on which curt.fcgi -j finds its configuration. */
#define JANITOR_CONF 3

/* When a worker without a master looked after the janitor last; zero at
 * first. */
struct janitor_watch {
    int64_t next_ms;
    pid_t janitor; /* the one that it started last, or 0 */
};

/* For a worker without a master: starts a janitor if none is running. Looks
 * at most once a second. The janitor is a process of its own, the same program
 * with -j, and ends with the worker that started it; another worker then
 * starts the next one. */
void janitor_watch(struct janitor_watch *watch, const struct conf *conf);

/* The worker ends: what it counted is flushed, unless a janitor is running that
 * does it. */
void janitor_leave(struct janitor_watch *watch, const struct conf *conf);

/* The configuration has changed: a janitor that this worker started ends, and
 * the next look starts one that knows it. */
void janitor_renew(struct janitor_watch *watch);

#endif
