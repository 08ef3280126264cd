#include "store/sqlite/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/sqlite/dbfile.h"

/* Bytes that are copied in one call. */
#define CHUNK (1u << 30)

/* Where the application id is in the header of a file. */
#define APPLICATION_ID 68

/* The endings of the files that belong to a database. */
static const char *const endings[] = {"", "-wal", "-journal", "-shm"};

#define ENDINGS      (sizeof(endings) / sizeof(endings[0]))
#define ENDINGS_KEPT 3 /* the last can be created again */

static void remove_all(const char *path)
{
    for (size_t i = 0; i < ENDINGS; i++) {
        char *name = mem_printf("%s%s", path, endings[i]);
        unlink(name);
        free(name);
    }
}

static enum result sqlite_failed(int rc, const char *path, const char *text,
                                 struct buf *reason)
{
    buf_addf(reason, "%s: %s", path, text);
    rc &= 0xff;
    return rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB || rc == SQLITE_ERROR
               ? RESULT_INVALID
               : RESULT_UNAVAILABLE;
}

/* ---- Checking a copy ------------------------------------------------- */

/* The first column of the only row: as text into *word, which the caller
 * frees, where word is not NULL, and as a number into *number. */
static int read_value(sqlite3 *db, const char *sql, char **word,
                      sqlite3_int64 *number)
{
    sqlite3_stmt *query = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &query, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(query);
    if (rc == SQLITE_ROW && word != NULL)
        *word = mem_dup((const char *)sqlite3_column_text(query, 0));
    if (rc == SQLITE_ROW && number != NULL)
        *number = sqlite3_column_int64(query, 0);
    sqlite3_finalize(query);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* Fails where a column is missing. */
static const char count_links[] =
    "SELECT count(*) FROM (SELECT short_id, long_url, short_url, created_at,"
    " ttl, hits, analytics FROM links)";

/* Whose database it is, and whether all of its pages are sound (check: which
 * PRAGMA looks). */
static enum result check_database(sqlite3 *db, const char *name,
                                  const char *check, struct sqlite_copy *copy,
                                  struct buf *reason)
{
    sqlite3_int64 application = 0, version = 0, links = 0;
    char *answer = NULL;
    int rc = read_value(db, "PRAGMA application_id", NULL, &application);
    if (rc == SQLITE_OK)
        rc = read_value(db, "PRAGMA user_version", NULL, &version);
    if (rc == SQLITE_OK && application != DBFILE_APPLICATION_ID) {
        buf_addf(reason, "%s: is not a database of curt", name);
        return RESULT_INVALID;
    }
    if (rc == SQLITE_OK && version > DBFILE_SCHEMA_VERSION) {
        buf_addf(reason,
                 "%s: was written by a newer curt (schema %d, this one knows "
                 "%d); install that version",
                 name, (int)version, DBFILE_SCHEMA_VERSION);
        return RESULT_INVALID;
    }
    if (rc == SQLITE_OK)
        rc = read_value(db, check, &answer, NULL);
    if (rc == SQLITE_OK && strcmp(answer, "ok") != 0) {
        buf_addf(reason, "%s: is damaged: %s", name, answer);
        rc = SQLITE_ABORT;
    }
    free(answer);
    if (rc == SQLITE_ABORT)
        return RESULT_INVALID;
    if (rc == SQLITE_OK)
        rc = read_value(db, count_links, NULL, &links);
    copy->links = (uint64_t)links;
    return rc == SQLITE_OK
               ? RESULT_OK
               : sqlite_failed(rc, name, sqlite3_errmsg(db), reason);
}

/* Makes the database at path one file in rollback mode, checks it and brings
 * it to the disk. name: what it is called in reasons. */
static enum result finish_copy(const char *path, const char *name,
                               const char *check, struct sqlite_copy *copy,
                               struct buf *reason)
{
    sqlite3 *db = NULL;
    char *mode = NULL;
    struct stat st;
    int rc = sqlite3_open_v2(path, &db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = read_value(db, "PRAGMA journal_mode = DELETE", &mode, NULL);
    enum result r = RESULT_OK;
    if (rc != SQLITE_OK || strcmp(mode, "delete") != 0)
        r = sqlite_failed(rc, name, sqlite3_errmsg(db), reason);
    else
        r = check_database(db, name, check, copy, reason);
    free(mode);
    sqlite3_close(db);
    if (r == RESULT_OK && (!dbfile_sync(path) || stat(path, &st) < 0)) {
        buf_addf(reason, "%s: %s", path, strerror(errno));
        r = RESULT_UNAVAILABLE;
    }
    if (r == RESULT_OK)
        copy->bytes = (uint64_t)st.st_size;
    return r;
}

/* ---- Backup ---------------------------------------------------------- */

static bool is_same_file(const char *a, const char *b)
{
    struct stat first, second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 &&
           first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

/* Why the name cannot be that of a backup, or NULL. One that has it already is
 * replaced. */
static const char *name_fault(const char *path, const char *file)
{
    unsigned char header[DBFILE_HEADER_SIZE];
    struct stat st;
    if (lstat(file, &st) < 0)
        return errno == ENOENT ? NULL : strerror(errno);
    if (is_same_file(path, file))
        return "is the database itself; choose another name";
    if (S_ISDIR(st.st_mode))
        return "is a directory; name a file in it";
    if (S_ISREG(st.st_mode) && dbfile_read_header(file, header) &&
        dbfile_is_rollback(header) &&
        memcmp(header + APPLICATION_ID, "curt", 4) == 0)
        return NULL;
    return "exists and was not made by `curt backup`; choose another name";
}

/* Makes an empty file, after what a run that was killed has left. */
static enum result make_part(const char *part, struct buf *reason)
{
    remove_all(part);
    int fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
        return RESULT_OK;
    }
    const int error = errno;
    char *copy = mem_dup(part);
    buf_addf(reason, "cannot create a file in %s: %s", dirname(copy),
             strerror(error));
    free(copy);
    return error == EACCES || error == EPERM ? RESULT_DENIED
           : error == ENOENT                 ? RESULT_INVALID
                                             : RESULT_UNAVAILABLE;
}

/* Copies all pages as they are now. */
static enum result copy_pages(const struct conf *conf, const char *path,
                              const char *part, struct buf *reason)
{
    sqlite3 *from = NULL, *to = NULL;
    const int64_t end =
        clock_monotonic_ms() + (int64_t)conf->store_timeout * 1000;
    int rc = sqlite3_open_v2(path, &from,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_open_v2(part, &to,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    /* The copy is brought to the disk as a whole, or thrown away. */
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(to, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
    sqlite3_backup *backup = NULL;
    if (rc == SQLITE_OK) {
        backup = sqlite3_backup_init(to, "main", from, "main");
        rc = backup != NULL ? SQLITE_OK : sqlite3_errcode(to);
    }
    while (rc == SQLITE_OK ||
           ((rc & 0xff) == SQLITE_BUSY && clock_monotonic_ms() < end)) {
        if (rc != SQLITE_OK)
            sqlite3_sleep(10);
        rc = sqlite3_backup_step(backup, -1);
    }
    sqlite3_backup_finish(backup);
    enum result r = RESULT_OK;
    if (rc != SQLITE_DONE)
        r = sqlite_failed(rc, (rc & 0xff) == SQLITE_FULL ? part : path,
                          sqlite3_errstr(rc), reason);
    sqlite3_close(to);
    sqlite3_close(from);
    return r;
}

enum result sqlite_backup(const struct conf *conf, const char *file,
                          struct sqlite_copy *copy, struct buf *reason)
{
    char *path = mem_printf("%s/curt.db", conf->state_dir);
    char *part = mem_printf("%s.part", file);
    struct dbfile *f = NULL;
    enum result r = RESULT_OK;
    const char *fault = name_fault(path, file);
    if (fault != NULL) {
        buf_addf(reason, "%s: %s", file, fault);
        r = RESULT_INVALID;
    } else if (access(path, F_OK) < 0 && errno == ENOENT) {
        buf_addf(reason, "%s does not exist; there are no links yet", path);
        r = RESULT_NOT_FOUND;
    }
    if (r == RESULT_OK)
        r = dbfile_open(path, false,
                        clock_monotonic_ms() +
                            (int64_t)conf->store_timeout * 1000,
                        &f, reason);
    if (r == RESULT_OK) {
        r = make_part(part, reason);
        if (r == RESULT_OK)
            r = copy_pages(conf, path, part, reason);
        if (r == RESULT_OK)
            r = finish_copy(part, part, "PRAGMA quick_check(1)", copy, reason);
        if (r == RESULT_OK &&
            (rename(part, file) < 0 || !dbfile_sync_parent(file))) {
            buf_addf(reason, "%s: %s", file, strerror(errno));
            r = RESULT_UNAVAILABLE;
        }
        if (r != RESULT_OK)
            remove_all(part);
    }
    dbfile_close(f);
    free(path);
    free(part);
    return r;
}

/* ---- Restore --------------------------------------------------------- */

/* Copies a file byte by byte; one that is missing is skipped unless it is
 * needed. */
static enum result copy_bytes(const char *from, const char *to, bool needed,
                              struct buf *reason)
{
    struct stat st;
    int in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (in < 0 && errno == ENOENT && !needed)
        return RESULT_OK;
    int out = -1;
    if (in >= 0 && fstat(in, &st) == 0 && S_ISREG(st.st_mode))
        out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    else if (in >= 0)
        errno = EINVAL;
    ssize_t n = -1;
    while (out >= 0 && (n = sendfile(out, in, NULL, CHUNK)) > 0)
        ;
    const int error = errno;
    if (out >= 0)
        close(out);
    if (in >= 0)
        close(in);
    if (n == 0)
        return RESULT_OK;
    buf_addf(reason, "%s: %s", in < 0 ? from : to, strerror(error));
    return in < 0 ? RESULT_INVALID : RESULT_UNAVAILABLE;
}

/* Why file cannot be a backup, as far as is seen without SQLite. own: it is the
 * database of f itself, which is right where it was copied there by hand. */
static const char *file_fault(struct dbfile *f, const char *file, bool own)
{
    unsigned char header[DBFILE_HEADER_SIZE];
    struct stat st;
    if (own && !dbfile_is_replaced(f))
        return "is the database itself, which needs no restore; name a backup";
    if (stat(file, &st) < 0 || access(file, R_OK) < 0)
        return strerror(errno);
    if (S_ISDIR(st.st_mode))
        return "is a directory";
    if (!dbfile_read_header(file, header))
        return "is not an SQLite database";
    if (!own && dbfile_is_rollback(header) && dbfile_has_log(file))
        return "the -wal next to it belongs to another file; remove that";
    return NULL;
}

enum result sqlite_restore(const struct conf *conf, const char *file,
                           struct sqlite_copy *copy, struct buf *reason)
{
    char *path = mem_printf("%s/curt.db", conf->state_dir);
    char *fresh = mem_printf("%s-restore", path);
    char *cache = mem_printf("%s/cache", conf->runtime_dir);
    struct dbfile *f = NULL;
    enum result r = dbfile_open_alone(path, &f, reason);
    const bool own = is_same_file(path, file);
    const char *fault = r == RESULT_OK ? file_fault(f, file, own) : NULL;
    if (fault != NULL) {
        buf_addf(reason, "%s: %s", file, fault);
        r = RESULT_INVALID;
    }
    if (r == RESULT_OK)
        remove_all(fresh); /* of a run that was killed */
    /* The log beside a file that was copied there is not its own. */
    const size_t count = own ? 1 : ENDINGS_KEPT;
    for (size_t i = 0; r == RESULT_OK && i < count; i++) {
        char *from = mem_printf("%s%s", file, endings[i]);
        char *to = mem_printf("%s%s", fresh, endings[i]);
        r = copy_bytes(from, to, i == 0, reason);
        free(from);
        free(to);
    }
    if (r == RESULT_OK)
        r = finish_copy(fresh, file, "PRAGMA integrity_check(1)", copy, reason);
    if (r == RESULT_OK)
        r = dbfile_replace(f, fresh, cache, reason);
    if (r != RESULT_OK && f != NULL)
        remove_all(fresh);
    dbfile_close(f);
    free(path);
    free(fresh);
    free(cache);
    return r;
}
