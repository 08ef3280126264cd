/* STATE_DIR and RUNTIME_DIR. */
#ifndef CURT_DIRS_H
#define CURT_DIRS_H

#include "buf.h"
#include "conf.h"

/* Makes both directories (mode 0750) where they are missing; what fails is
 * logged as a warning, because not every store needs them. */
void dirs_make(const struct conf *conf);

/* Appends one line per fault to faults: a directory that is no directory, that
 * this process cannot write, or that is missing and cannot be made. */
void dirs_check(const struct conf *conf, struct buf *faults);

/* Gives fd, a new file at path, the owner of its directory where root made it
 * (curt run by hand), so that the workers can write it. What fails is logged.
 */
void dirs_give_to_owner(const char *path, int fd);

#endif
