#include "store/sqlite/doctor.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"

/* How long the pages are checked, in milliseconds; how many steps of SQLite's
 * machine there are between two looks at the clock. */
#define CHECK_MS    5000
#define CHECK_STEPS 10000

/* A write-ahead log that is larger has not been reset for long: curt limits it
 * to 64 MiB. */
#define MIB       (1024 * 1024)
#define LOG_LARGE (256 * MIB)

#define CHECK "database"

static int is_late(void *deadline)
{
    return clock_monotonic_ms() > *(int64_t *)deadline;
}

/* The first column of the first row, as text that the caller frees; NULL and
 * an SQLite error code where there is none. */
static char *query_text(sqlite3 *db, const char *pragma, int *rc)
{
    sqlite3_stmt *query = NULL;
    char *text = NULL;
    *rc = sqlite3_prepare_v2(db, pragma, -1, &query, NULL);
    if (*rc == SQLITE_OK)
        *rc = sqlite3_step(query);
    if (*rc == SQLITE_ROW)
        text = mem_dup((const char *)sqlite3_column_text(query, 0));
    sqlite3_finalize(query);
    return text;
}

static void check_pages(sqlite3 *db, const char *path, long long kib,
                        struct report *report)
{
    int rc;
    int64_t deadline = clock_monotonic_ms() + CHECK_MS;
    sqlite3_progress_handler(db, CHECK_STEPS, is_late, &deadline);
    char *answer = query_text(db, "PRAGMA quick_check(1)", &rc);
    if (rc == SQLITE_INTERRUPT)
        report_add(report, REPORT_OK, CHECK, NULL,
                   "%s: no error found in %d s (%lld KiB; to check all of it: "
                   "sqlite3 %s 'PRAGMA quick_check')",
                   path, CHECK_MS / 1000, kib, path);
    else if (answer != NULL && strcmp(answer, "ok") == 0)
        report_add(report, REPORT_OK, CHECK, NULL, "%s: OK (%lld KiB)", path,
                   kib);
    else if (answer != NULL || rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB)
        report_add(report, REPORT_FAIL, CHECK,
                   "stop curt.fcgi and run `curt restore FILE` with a backup",
                   "%s: %s", path,
                   answer != NULL ? answer : sqlite3_errmsg(db));
    else /* locked, for example, which is not damage */
        report_add(report, REPORT_WARN, CHECK,
                   "see what else uses the file (fuser), then run this again",
                   "%s: its pages could not be checked: %s", path,
                   sqlite3_errmsg(db));
    free(answer);
}

static void check_file(const char *path, const struct conf *conf,
                       struct report *report)
{
    sqlite3 *db = NULL;
    struct stat st = {.st_size = 0}, log = {.st_size = 0};
    char *log_path = mem_printf("%s-wal", path);
    (void)!stat(path, &st), (void)!stat(log_path, &log);
    int rc = sqlite3_open_v2(path, &db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        report_add(report, REPORT_FAIL, CHECK,
                   "give it to the user that runs curt.fcgi", "%s: %s", path,
                   sqlite3_errstr(rc));
    } else {
        sqlite3_busy_timeout(db, (int)conf->store_timeout * 1000);
        char *mode = query_text(db, "PRAGMA journal_mode", &rc);
        if (mode != NULL && strcmp(mode, "wal") != 0)
            report_add(report, REPORT_WARN, CHECK,
                       "restart curt.fcgi, which sets it; if it stays, move "
                       "STATE_DIR to a file system with shared memory",
                       "%s: its journal mode is %s, expected wal, so readers "
                       "wait for writers",
                       path, mode);
        free(mode);
        check_pages(db, path, (long long)(st.st_size + 1023) / 1024, report);
    }
    sqlite3_close(db);
    if (log.st_size > LOG_LARGE)
        report_add(report, REPORT_WARN, CHECK,
                   "end the process that keeps a read transaction open (fuser "
                   "-v shows all that use the file), or restart the pool; the "
                   "next creates and flushes then shrink the log",
                   "%s: %lld MiB, expected at most 64", log_path,
                   (long long)log.st_size / MIB);
    free(log_path);
}

/* Compares the clock with what curt knows about the time: when it was built,
 * when the newest link was created, and what the janitor has measured. Adds a
 * line only where they differ. */
static void check_clock(struct store *s, struct report *report)
{
    struct clock_measured w;
    int64_t newest;
    const int64_t wall = clock_now();
    if (!clock_load(s->conf->state_dir, &w))
        w.time = wall;
    if (store_newest(s, &newest) == RESULT_OK && newest > w.time)
        w.time = newest;
    clock_measure(&w);
    const int64_t ahead = wall - w.time;
    char *remove = mem_printf("set the clock; if it is right, stop curt.fcgi "
                              "and remove %s/clock",
                              s->conf->state_dir);
    if (wall < CURT_BUILD_TIME)
        report_add(report, REPORT_FAIL, "clock", "set the clock",
                   "this host's clock shows a time before this curt was built, "
                   "so no links are created");
    else if (ahead < -CLOCK_BEHIND)
        report_add(report, REPORT_WARN, "clock", remove,
                   "this host's clock is %lld s behind the latest time that "
                   "curt has seen",
                   (long long)-ahead);
    else if (ahead > CLOCK_AHEAD)
        report_add(report, REPORT_WARN, "clock",
                   "set the clock if it is wrong; if it is right, expired "
                   "links are removed again after a day",
                   "this host's clock is %lld s ahead of the time that curt "
                   "has measured: it jumped, or this machine was off",
                   (long long)ahead);
    free(remove);
}

void sqlite_doctor(struct store *s, struct report *report)
{
    struct buf findings;
    struct stat st;
    char *path = mem_printf("%s/curt.db", s->conf->state_dir);
    buf_init(&findings, 1u << 16);
    enum result r = store_table_check(s, &findings, NULL);
    const bool other = store_error(s)[0] != '\0'; /* not curt's file */
    if (findings.len > 0)
        buf_truncate(&findings, findings.len - 1); /* the line's end */
    if (r == RESULT_NOT_FOUND)
        report_add_error(report, REPORT_OK, CHECK, NULL, findings.data);
    else if (r == RESULT_INVALID)
        report_add_error(report, other ? REPORT_FAIL : REPORT_WARN, CHECK,
                         other ? "move it to another place, or set STATE_DIR "
                                 "to another directory"
                               : NULL,
                         findings.data);
    else if (r != RESULT_OK)
        report_add_error(report, REPORT_FAIL, CHECK,
                         "give it to the user that runs curt.fcgi",
                         store_error(s));
    if ((r == RESULT_OK || (r == RESULT_INVALID && !other)) &&
        stat(path, &st) == 0) {
        check_file(path, s->conf, report);
        check_clock(s, report);
    }
    buf_free(&findings);
    free(path);
}
