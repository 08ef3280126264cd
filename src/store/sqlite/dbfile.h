/*
 * The SQLite file as a file: its owner, the processes that have it open, when
 * its log is on the disk, and whether the write-ahead log next to it belongs to
 * it.
 *
 * Each process of curt that has the database open holds a shared lock on
 * curt.db-lock, which the kernel releases when the process dies; `curt restore`
 * holds it exclusively.
 *
 * curt.db-lock also has a record: the salts of the log (they are new each time
 * that SQLite begins the log again) and the header of the database at that
 * time. From then on SQLite changes the database only by copying pages of this
 * log into it. So while the log has these salts, the header of the database is
 * the recorded one, or one that is in the log. With any other header the file
 * was replaced, and to open it would apply another file's changes to it. Only
 * contents are compared, so copies of the directory, a power loss and other
 * programs that write by way of SQLite raise no false alarm
 * (https://www.sqlite.org/fileformat2.html, "The Write-Ahead Log").
 */
#ifndef CURT_DBFILE_H
#define CURT_DBFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"

/* Bytes of the header of a database file. */
#define DBFILE_HEADER_SIZE 100

/* "curt" in PRAGMA application_id, and PRAGMA user_version of a file whose
 * schema is up to date. */
#define DBFILE_APPLICATION_ID 0x63757274
#define DBFILE_SCHEMA_VERSION 3

struct dbfile;

/* Takes the shared lock for the database at path, before SQLite opens it, and
 * looks whether the file can be opened. create: creates an empty file, and
 * curt.db-lock, where they are missing; they get the owner of their directory
 * when root creates them, and so do SQLite's -wal and -shm files. Waits for a
 * restore until limit (clock_monotonic_ms()).
 * Other results than RESULT_OK, with the reason and what to do about it:
 * RESULT_UNAVAILABLE: a restore is running or was interrupted, or curt.db-lock
 * cannot be opened; RESULT_DENIED: this user may not. RESULT_INTERNAL: the file
 * was replaced. */
enum result dbfile_open(const char *path, bool create, int64_t limit,
                        struct dbfile **out, struct buf *reason) MUST_CHECK;

/* The same for `curt restore`: no other process may have the database open, by
 * curt or by SQLite itself, and none can open it until dbfile_close().
 * RESULT_CONFLICT: it is open elsewhere. Creates curt.db-lock only. */
enum result dbfile_open_alone(const char *path, struct dbfile **out,
                              struct buf *reason) MUST_CHECK;

/* Gives the lock back, after SQLite has closed the file; NULL is allowed. */
void dbfile_close(struct dbfile *f);

/* Whether the log belongs to another file than the one at the path; f is from
 * dbfile_open_alone(). */
bool dbfile_is_replaced(struct dbfile *f) MUST_CHECK;

/* Puts the complete database at fresh into the place of the one at path, with
 * its owner and mode; f is from dbfile_open_alone(). The old one is kept, with
 * -old after its name, until the next time. Between the first and the last step
 * nothing can open the database, also after a kill or a power loss:
 * dbfile_open() refuses, and another restore begins again. cache: a file that
 * is removed before the first step. */
enum result dbfile_replace(struct dbfile *f, const char *fresh,
                           const char *cache, struct buf *reason) MUST_CHECK;

/* Whether the log was begun again since dbfile_record(), as seen after a
 * commit. */
bool dbfile_log_is_new(struct dbfile *f);

/* Records the header of the database for the log that is new. */
void dbfile_record(struct dbfile *f,
                   const unsigned char header[DBFILE_HEADER_SIZE]);

/* Waits until all that was written to the log is on the disk. False, and
 * errno, if that fails. */
bool dbfile_sync_log(struct dbfile *f);

/* Copies the header of the file at path. False: it has none. */
bool dbfile_read_header(const char *path,
                        unsigned char header[DBFILE_HEADER_SIZE]);

/* Whether the header belongs to a file in rollback mode, which has no log. */
bool dbfile_is_rollback(const unsigned char header[DBFILE_HEADER_SIZE]);

/* Whether path has a log with contents. */
bool dbfile_has_log(const char *path);

/* Brings a file, or the directory that it is in, to the disk. */
bool dbfile_sync(const char *path);
bool dbfile_sync_parent(const char *path);

#endif
