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

/* What the children do; each returns an exit status. *answered is shared with
 * the master: a child that has answered a request writes its process id there,
 * and is replaced at once when it dies. */
struct master_roles {
    int (*worker)(const struct conf *conf, _Atomic pid_t *answered);
    int (*janitor)(const struct conf *conf, _Atomic pid_t *answered);
};

/* Runs a pool of workers (1 to MASTER_WORKERS_MAX) on the socket at descriptor
 * 0 until it is told to stop; returns the exit status. Takes conf over.
 * conf_file is as for conf_load().
 *
 * TERM, INT, QUIT: the children finish the requests they have; those that
 * still run after DRAIN_TIMEOUT are killed. The same again: killed at once.
 * HUP: loads the configuration and replaces the children one after another,
 * the new one before the old one goes; what does not load changes nothing. */
int master_run(struct conf *conf, const char *conf_file, unsigned workers,
               const struct master_roles *roles);

#endif
