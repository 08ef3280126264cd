/* STATE_DIR and RUNTIME_DIR. */
#ifndef CURT_DIRS_H
#define CURT_DIRS_H

#include "base/buf.h"
#include "config/conf.h"

/* The web server has to reach a socket in RUNTIME_DIR. */
#define DIRS_STATE_MODE   0750
#define DIRS_RUNTIME_MODE 0755

/* Creates both directories, with these modes, where they are missing; what
 * fails is logged as a warning, because not every store needs them. */
void dirs_make(const struct conf *conf);

/* Appends one line per fault to faults: one that is not a directory, that
 * this process cannot write, or that is missing and cannot be created. */
void dirs_check(const struct conf *conf, struct buf *faults);

/* Appends to reason why a file of one of the directories cannot be opened, and
 * what to do. path: of the file; error: the errno of the attempt.
 * RESULT_DENIED: this user has no permission; RESULT_UNAVAILABLE: any other
 * error. */
enum result dirs_refused(const char *path, int error, struct buf *reason);

#endif
