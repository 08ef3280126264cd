/* The checks of `curt doctor` for links in an SQLite file. */
#ifndef CURT_SQLITE_DOCTOR_H
#define CURT_SQLITE_DOCTOR_H

#include "base/report.h"
#include "store/store.h"

/* Adds lines on STATE_DIR/curt.db: whether curt can use it, its schema, its
 * journal mode, the size of its log, and for some seconds whether its pages are
 * valid; and on this host's clock where it differs from the times that curt has
 * seen. Changes nothing. s: a store on it. */
void sqlite_doctor(struct store *s, struct report *report);

#endif
