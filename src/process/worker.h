/* A worker: accepts a request, answers it, and again. */
#ifndef CURT_WORKER_H
#define CURT_WORKER_H

#include <sys/types.h>

#include "config/conf.h"
#include "process/master.h"

/* Serves until it is told to stop, and returns the exit status.
 *
 * USR1, INT, QUIT: no new request, the one under way is answered; repeating
 * them changes nothing. TERM: the same; a second TERM ends the process at once.
 * DRAIN_TIMEOUT after the first of them the process ends in any case. */
int worker_run(const struct conf *conf, struct master_child *shared);

/* The same for a process that the web server started itself (mod_fcgid,
 * lighttpd bin-path, spawn-fcgi -F): there is no master, so it starts the
 * janitor itself, and HUP makes it load its configuration again, from conf_file
 * (or NULL, see conf_load), before the next request. Takes conf over. */
int worker_run_alone(struct conf *conf, const char *conf_file);

#endif
