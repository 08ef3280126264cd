/* STATE_DIR and RUNTIME_DIR. */
#ifndef CURT_DIRS_H
#define CURT_DIRS_H

#include "buf.h"
#include "conf.h"

/* The web server has to reach a socket in RUNTIME_DIR. */
#define DIRS_STATE_MODE   0750
#define DIRS_RUNTIME_MODE 0755

/* Creates both directories, with these modes, where they are missing; what
 * fails is logged as a warning, because not every store needs them. */
void dirs_make(const struct conf *conf);

/* Appends one line per fault to faults: a directory that is no directory, that
 * this process cannot write, or that is missing and cannot be made. */
void dirs_check(const struct conf *conf, struct buf *faults);

/* Appends to reason why a file in one of the directories could not be opened
 * (error, an errno) and what to do. RESULT_DENIED: this user may not. */
enum result dirs_refused(const char *path, int error, struct buf *reason);

#endif
