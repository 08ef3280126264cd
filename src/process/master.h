/*
 * The master: forks the workers and the janitor, replaces those that die,
 * reloads, stops. It opens no store, parses no request, links no handler: what
 * a child does comes in as functions.
 */
#ifndef CURT_MASTER_H
#define CURT_MASTER_H

#include <sys/types.h>

#include "config/conf.h"

/* Most workers that a master looks after. */
#define MASTER_WORKERS_MAX 1024

/* What a worker shares with the master: it writes its process id there. */
struct master_child {
    _Atomic pid_t serves;   /* when it takes requests */
    _Atomic pid_t answered; /* with its first answer: replaced without delay */
};

/* What the children do; each returns an exit status. */
struct master_roles {
    int (*worker)(const struct conf *conf, struct master_child *shared);
    int (*janitor)(const struct conf *conf, struct master_child *shared);
};

/* Runs a pool of workers (1 to MASTER_WORKERS_MAX) on the socket at descriptor
 * 0 until it is told to stop; returns the exit status. Takes conf over.
 * conf_file is as for conf_load().
 *
 * TERM, INT, QUIT, USR1: the children finish the requests they have; those that
 * still run after DRAIN_TIMEOUT are killed. The same again: killed at once.
 * HUP: loads the configuration and replaces the children one after another,
 * the new one before the old one goes; what does not load changes nothing.
 *
 * The service manager (notify.h) learns when the first worker serves, when a
 * reload begins and ends, and when the pool stops. */
int master_run(struct conf *conf, const char *conf_file, unsigned workers,
               const struct master_roles *roles);

#endif
