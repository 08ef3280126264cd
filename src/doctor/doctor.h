/*
 * `curt doctor`: whether this host is ready to serve, and if not, what to do.
 * It changes nothing, except one link that it creates, follows and removes.
 */
#ifndef CURT_DOCTOR_H
#define CURT_DOCTOR_H

#include <stdbool.h>

/* Runs all checks with the configuration of file (as conf_load() takes it) and
 * prints what they find: lines of text, or one JSON object. Returns the exit
 * status: 0 ready, warnings or not; 1 a check failed; EX_CONFIG the
 * configuration cannot be used, with its faults on standard error or, in JSON,
 * as checks. SIGPIPE must be ignored. Run by root, the process takes the rights
 * of the pool's user for good. */
int doctor_run(const char *file, bool json);

#endif
