#include "store/sqlite/dbfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "config/dirs.h"

/* How often a lock is tried, in milliseconds. */
#define LOCK_STEP_MS 20

/* How often a file that others seem to have open is looked at again, before it
 * counts as replaced. */
#define REPLACED_LOOKS 10

/* The bytes on which SQLite locks a database (os.h of its source, and "The
 * Lock-Byte Page" of the file format). */
#define LOCK_FIRST 0x40000000
#define LOCK_COUNT 512

/* Of the log: its own header, that of each page in it, and where the salts are
 * in both. */
#define LOG_HEADER      32
#define LOG_SALTS       16
#define LOG_FRAME       24
#define LOG_FRAME_SALTS 8
#define SALTS_SIZE      8

/* What curt.db-lock contains. */
struct db_record {
    char magic[8];
    uint64_t inode; /* of the database that the processes have open */
    unsigned char salts[SALTS_SIZE];
    unsigned char header[DBFILE_HEADER_SIZE];
};

static const char record_magic[8] = "curtdb1";

struct dbfile {
    char *path;
    int lock;
    int log;                         /* -1 until it is first needed */
    int main;                        /* of dbfile_open_alone(), else -1 */
    unsigned char salts[SALTS_SIZE]; /* of the log at the last look */
};

/* Opens path with an ending, close-on-exec. */
static int open_beside(const char *path, const char *ending, int flags)
{
    char *name = mem_printf("%s%s", path, ending);
    int fd = open(name, flags | O_CLOEXEC | O_NOFOLLOW, 0640);
    free(name);
    return fd;
}

/* A new file at path is for the workers, also when root creates it. */
static void give_to_owner(const char *path, int fd)
{
    char *copy = mem_dup(path);
    lock_give_to_owner(fd, dirname(copy));
    free(copy);
}

/* *out is NULL where the lock cannot be opened. */
static enum result open_lock(const char *path, bool create, struct dbfile **out,
                             struct buf *reason)
{
    *out = NULL;
    char *name = mem_printf("%s-lock", path), *dir = mem_dup(path);
    const bool absent = !create && access(name, F_OK) < 0 && errno == ENOENT;
    const int fd = absent ? -1 : lock_open(dirname(dir), name);
    enum result r = RESULT_OK;
    if (fd < 0 && !absent) {
        r = dirs_refused(name, errno, reason);
    } else {
        *out = mem_zalloc(sizeof(**out));
        **out = (struct dbfile){
            .path = mem_dup(path), .lock = fd, .log = -1, .main = -1};
    }
    free(name);
    free(dir);
    return r;
}

void dbfile_close(struct dbfile *f)
{
    if (f == NULL)
        return;
    const int fds[] = {f->log, f->main, f->lock};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(f->path);
    free(f);
}

bool dbfile_read_header(const char *path,
                        unsigned char header[DBFILE_HEADER_SIZE])
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, header, DBFILE_HEADER_SIZE, 0);
    if (fd >= 0)
        close(fd);
    return n == DBFILE_HEADER_SIZE;
}

bool dbfile_is_rollback(const unsigned char header[DBFILE_HEADER_SIZE])
{
    return header[18] == 1 && header[19] == 1;
}

bool dbfile_has_log(const char *path)
{
    struct stat st;
    char *log = mem_printf("%s-wal", path);
    const bool has = stat(log, &st) == 0 && st.st_size > LOG_HEADER + LOG_FRAME;
    free(log);
    return has;
}

/* ---- The record ------------------------------------------------------ */

/* What was not recorded is zero. */
static struct db_record read_record(const struct dbfile *f)
{
    struct db_record r;
    if (f->lock < 0 || pread(f->lock, &r, sizeof(r), 0) != sizeof(r) ||
        memcmp(r.magic, record_magic, sizeof(record_magic)) != 0) {
        r = (struct db_record){.inode = 0};
        memcpy(r.magic, record_magic, sizeof(record_magic));
    }
    return r;
}

/* In one write, which a kill does not tear. What is not written is not known,
 * and then nothing is refused. */
static void write_record(const struct dbfile *f, const struct db_record *r)
{
    if (f->lock >= 0 && pwrite(f->lock, r, sizeof(*r), 0) != sizeof(*r))
        (void)!ftruncate(f->lock, 0);
}

/* The log and the database may be new, and so their names must be on the disk
 * before a commit counts. */
static bool open_log(struct dbfile *f)
{
    if (f->log < 0 && dbfile_sync_parent(f->path))
        f->log = open_beside(f->path, "-wal", O_RDWR);
    return f->log >= 0;
}

static bool read_salts(struct dbfile *f, unsigned char salts[SALTS_SIZE])
{
    return open_log(f) &&
           pread(f->log, salts, SALTS_SIZE, LOG_SALTS) == SALTS_SIZE;
}

bool dbfile_log_is_new(struct dbfile *f)
{
    unsigned char salts[SALTS_SIZE];
    if (!read_salts(f, salts) || memcmp(salts, f->salts, SALTS_SIZE) == 0)
        return false;
    memcpy(f->salts, salts, SALTS_SIZE);
    const struct db_record r = read_record(f);
    return memcmp(r.salts, salts, SALTS_SIZE) != 0;
}

void dbfile_record(struct dbfile *f,
                   const unsigned char header[DBFILE_HEADER_SIZE])
{
    struct db_record r = read_record(f);
    memcpy(r.salts, f->salts, SALTS_SIZE);
    memcpy(r.header, header, DBFILE_HEADER_SIZE);
    write_record(f, &r);
}

bool dbfile_sync_log(struct dbfile *f)
{
    return open_log(f) && fdatasync(f->log) == 0;
}

/* ---- Whether the file may be opened ----------------------------------- */

/* Whether the log has a first page that begins with this header. */
static bool log_has_header(struct dbfile *f, const struct db_record *r,
                           const unsigned char header[DBFILE_HEADER_SIZE])
{
    unsigned char frame[LOG_FRAME + DBFILE_HEADER_SIZE];
    if (pread(f->log, frame, LOG_HEADER, 0) != LOG_HEADER)
        return false;
    const off_t page = (off_t)frame[8] << 24 | (off_t)frame[9] << 16 |
                       (off_t)frame[10] << 8 | (off_t)frame[11];
    for (off_t at = LOG_HEADER;; at += LOG_FRAME + page) {
        if (pread(f->log, frame, LOG_FRAME, at) != LOG_FRAME ||
            memcmp(frame + LOG_FRAME_SALTS, r->salts, SALTS_SIZE) != 0)
            return false;
        if (memcmp(frame, "\0\0\0\1", 4) == 0 &&
            pread(f->log, frame, sizeof(frame), at) == sizeof(frame) &&
            memcmp(frame + LOG_FRAME, header, DBFILE_HEADER_SIZE) == 0)
            return true;
    }
}

bool dbfile_is_replaced(struct dbfile *f)
{
    unsigned char header[DBFILE_HEADER_SIZE], salts[SALTS_SIZE];
    const struct db_record r = read_record(f);
    if (!dbfile_has_log(f->path) || !dbfile_read_header(f->path, header))
        return false;
    if (dbfile_is_rollback(header))
        return true;
    const bool foreign = r.header[0] != 0 && read_salts(f, salts) &&
                         memcmp(r.salts, salts, SALTS_SIZE) == 0 &&
                         memcmp(r.header, header, DBFILE_HEADER_SIZE) != 0 &&
                         !log_has_header(f, &r, header);
    /* Until SQLite has it open, another program may remove the log. */
    if (f->log >= 0)
        close(f->log);
    f->log = -1;
    return foreign;
}

/* first: no other process has the database open. Then its file, which has no
 * lock of SQLite's that closing it could release, can be read. */
static enum result check_database_file(struct dbfile *f, bool first,
                                       bool create, struct buf *reason)
{
    struct stat st;
    char *restored = mem_printf("%s-restored", f->path);
    const bool interrupted = access(restored, F_OK) == 0;
    free(restored);
    if (interrupted) {
        buf_addf(reason, "%s: `curt restore` was interrupted; run it again",
                 f->path);
        return RESULT_UNAVAILABLE;
    }
    int fd = create ? open_beside(f->path, "", O_RDWR | O_CREAT | O_EXCL) : -1;
    if (fd >= 0) {
        give_to_owner(f->path, fd);
        close(fd);
    }
    /* Opened for writing: only that may give a file of an overlay file system
     * its inode. */
    fd = first ? open_beside(f->path, "", O_RDWR) : -1;
    const bool there = fd >= 0 ? fstat(fd, &st) == 0 : stat(f->path, &st) == 0;
    if (fd >= 0)
        close(fd);
    if (!there)
        return RESULT_OK; /* SQLite gives the reason */
    struct db_record r = read_record(f);
    if (first ? dbfile_is_replaced(f) : r.inode != 0 && r.inode != st.st_ino) {
        buf_addf(reason,
                 "%s was replaced, and %s-wal has the changes of the file that "
                 "was there before; stop curt.fcgi and run `curt restore %s`, "
                 "or restore a backup",
                 f->path, f->path, f->path);
        return RESULT_INTERNAL;
    }
    if (first && r.inode != st.st_ino) {
        r.inode = st.st_ino;
        write_record(f, &r);
    }
    return RESULT_OK;
}

/* Takes the shared lock. *first: no other process had it, and none gets it
 * until this process has it shared. */
static bool take_shared(const struct dbfile *f, int64_t limit, bool *first)
{
    *first = false;
    for (;;) {
        if (f->lock < 0)
            return true;
        *first = flock(f->lock, LOCK_EX | LOCK_NB) == 0;
        if (*first || flock(f->lock, LOCK_SH | LOCK_NB) == 0)
            return true;
        if (clock_monotonic_ms() >= limit)
            return false;
        clock_pause_ms(LOCK_STEP_MS);
    }
}

enum result dbfile_open(const char *path, bool create, int64_t limit,
                        struct dbfile **out, struct buf *reason)
{
    bool first, again;
    unsigned looks = 0;
    enum result r = open_lock(path, create, out, reason);
    if (r != RESULT_OK)
        return r;
    do {
        if (!take_shared(*out, limit, &first)) {
            buf_addf(reason, "%s: `curt restore` is running", path);
            r = RESULT_UNAVAILABLE;
            break;
        }
        r = check_database_file(*out, first, create, reason);
        /* A change of the lock is not atomic: another process may be faster,
         * and then all begins again. */
        again = r == RESULT_OK && first &&
                flock((*out)->lock, LOCK_SH | LOCK_NB) < 0;
        /* The others may be about to close a file that could not be opened. */
        if (r == RESULT_INTERNAL && !first && looks++ < REPLACED_LOOKS &&
            clock_monotonic_ms() < limit) {
            buf_reset(reason);
            flock((*out)->lock, LOCK_UN);
            clock_pause_ms(LOCK_STEP_MS);
            again = true;
        }
    } while (again);
    if (r != RESULT_OK) {
        dbfile_close(*out);
        *out = NULL;
    }
    return r;
}

/* ---- Replacing it ---------------------------------------------------- */

enum result dbfile_open_alone(const char *path, struct dbfile **out,
                              struct buf *reason)
{
    struct flock all = {.l_type = F_WRLCK,
                        .l_whence = SEEK_SET,
                        .l_start = LOCK_FIRST,
                        .l_len = LOCK_COUNT};
    enum result r = open_lock(path, true, out, reason);
    if (r != RESULT_OK)
        return r;
    struct dbfile *f = *out;
    f->main = open_beside(path, "", O_RDWR);
    if (f->main < 0 && errno != ENOENT) {
        r = dirs_refused(path, errno, reason);
    } else if (flock(f->lock, LOCK_EX | LOCK_NB) < 0 ||
               (f->main >= 0 && fcntl(f->main, F_OFD_SETLK, &all) < 0)) {
        buf_addf(reason,
                 "%s: another process has it open; stop curt.fcgi and "
                 "close every other program that uses it",
                 path);
        r = RESULT_CONFLICT;
    }
    if (r != RESULT_OK) {
        dbfile_close(f);
        *out = NULL;
    }
    return r;
}

bool dbfile_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return synced;
}

bool dbfile_sync_parent(const char *path)
{
    char *copy = mem_dup(path);
    const bool synced = dbfile_sync(dirname(copy));
    free(copy);
    return synced;
}

static bool remove_beside(const char *path, const char *ending)
{
    char *name = mem_printf("%s%s", path, ending);
    const bool gone = unlink(name) == 0 || errno == ENOENT;
    free(name);
    return gone;
}

/* The new file gets the owner and the mode of the old one. */
static bool keep_owner(const struct dbfile *f, const char *fresh)
{
    struct stat st;
    int fd = open(fresh, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    bool done = fd >= 0;
    if (done && f->main < 0)
        give_to_owner(f->path, fd);
    else if (done)
        done = fstat(f->main, &st) == 0 &&
               fchmod(fd, st.st_mode & 07777) == 0 &&
               (geteuid() != 0 || fchown(fd, st.st_uid, st.st_gid) == 0);
    done = done && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return done;
}

/* Moves one of the old files out of the way, for the operator. */
static bool keep_beside(const char *path, const char *ending)
{
    char *name = mem_printf("%s%s", path, ending);
    char *kept = mem_printf("%s-old%s", path, ending);
    const bool gone = rename(name, kept) == 0 || errno == ENOENT;
    free(name);
    free(kept);
    return gone;
}

enum result dbfile_replace(struct dbfile *f, const char *fresh,
                           const char *cache, struct buf *reason)
{
    if (!remove_beside(cache, "")) {
        buf_addf(reason, "%s: %s; remove it", cache, strerror(errno));
        return RESULT_UNAVAILABLE;
    }
    char *restored = mem_printf("%s-restored", f->path);
    /* What an interrupted run has kept already stays. */
    bool done =
        access(restored, F_OK) == 0 ||
        (remove_beside(f->path, "-old") && remove_beside(f->path, "-old-wal") &&
         remove_beside(f->path, "-old-shm") &&
         remove_beside(f->path, "-old-journal"));
    /* A log or a journal of the old file never meets the new one: they are
     * moved while the name "-restored" keeps processes from opening either. */
    done = done && keep_owner(f, fresh) && rename(fresh, restored) == 0 &&
           dbfile_sync_parent(restored) && keep_beside(f->path, "") &&
           keep_beside(f->path, "-wal") && keep_beside(f->path, "-journal") &&
           remove_beside(f->path, "-shm") && ftruncate(f->lock, 0) == 0 &&
           dbfile_sync_parent(restored) && rename(restored, f->path) == 0 &&
           dbfile_sync_parent(f->path);
    if (!done)
        buf_addf(reason, "%s: %s", f->path, strerror(errno));
    free(restored);
    return done ? RESULT_OK : RESULT_UNAVAILABLE;
}
