/* What `curt doctor` looks at where the links are in an SQLite file. */
#ifndef CURT_SQLITE_DOCTOR_H
#define CURT_SQLITE_DOCTOR_H

#include "report.h"
#include "store.h"

/* Adds lines on STATE_DIR/curt.db: whether it is there and open to nobody
 * else, its schema, its journal mode, and whether its pages are sound, as far
 * as that can be seen in some seconds. Changes nothing. s: a store on it. */
void sqlite_doctor(struct store *s, struct report *report);

#endif
