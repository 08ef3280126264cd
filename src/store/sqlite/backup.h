/* Copies of the SQLite file: `curt backup` and `curt restore`. */
#ifndef CURT_SQLITE_BACKUP_H
#define CURT_SQLITE_BACKUP_H

#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"
#include "config/conf.h"

/* What a copy contains. */
struct sqlite_copy {
    uint64_t links;
    uint64_t bytes;
};

/* Copies STATE_DIR/curt.db, as it is at one moment, to file, while others read
 * and write it. The copy is one file in rollback mode, for its owner only; it
 * is checked and on the disk before it gets its name. A file that is there is
 * replaced if it is such a copy, and else refused (RESULT_INVALID). Otherwise
 * than on RESULT_OK, with the reason, nothing has the name that had not. */
enum result sqlite_backup(const struct conf *conf, const char *file,
                          struct sqlite_copy *copy,
                          struct buf *reason) MUST_CHECK;

/* Puts the links of file into the place of STATE_DIR/curt.db, and forgets the
 * link cache. file, which is only read, is a backup by curt or by SQLite, in
 * either journal mode, with its -wal where it has one. It is copied, and the
 * copy checked, before anything is changed; see dbfile_replace() for the rest.
 * The caller holds the janitor's lock. RESULT_INVALID: file is not a sound
 * database of curt. RESULT_CONFLICT: another process has curt.db open. */
enum result sqlite_restore(const struct conf *conf, const char *file,
                           struct sqlite_copy *copy,
                           struct buf *reason) MUST_CHECK;

#endif
