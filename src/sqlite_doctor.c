#include "sqlite_doctor.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clock.h"
#include "mem.h"
#include "wallclock.h"

/* How long the pages are looked at, in milliseconds; how many steps of
 * SQLite's machine there are between two looks at the clock. */
#define CHECK_MS    5000
#define CHECK_STEPS 10000

#define CHECK "database"
#define CLOCK "clock"

struct look {
    const char *path;
    struct report *report;
    sqlite3 *db;
    int64_t deadline;
    uint64_t size; /* of the file */
};

static int is_late(void *argument)
{
    const struct look *look = argument;
    return clock_monotonic_ms() > look->deadline;
}

/* The first column of the first row, as text that the caller frees; NULL and
 * an SQLite error code where there is none. */
static char *query_text(struct look *look, const char *pragma, int *rc)
{
    sqlite3_stmt *query = NULL;
    char *text = NULL;
    *rc = sqlite3_prepare_v2(look->db, pragma, -1, &query, NULL);
    if (*rc == SQLITE_OK)
        *rc = sqlite3_step(query);
    if (*rc == SQLITE_ROW)
        text = mem_dup((const char *)sqlite3_column_text(query, 0));
    sqlite3_finalize(query);
    return text;
}

static void check_mode(struct look *look)
{
    int rc;
    char *mode = query_text(look, "PRAGMA journal_mode", &rc);
    if (mode != NULL && strcmp(mode, "wal") != 0)
        report_add(look->report, REPORT_WARN, CHECK,
                   "the next start of curt.fcgi turns WAL on; where it does "
                   "not, STATE_DIR is on a file system without shared memory",
                   "%s: its journal mode is %s, so readers wait for writers",
                   look->path, mode);
    free(mode);
}

static void check_pages(struct look *look)
{
    int rc;
    const unsigned long long kib = (look->size + 1023) / 1024;
    look->deadline = clock_monotonic_ms() + CHECK_MS;
    sqlite3_progress_handler(look->db, CHECK_STEPS, is_late, look);
    char *answer = query_text(look, "PRAGMA quick_check(1)", &rc);
    sqlite3_progress_handler(look->db, 0, NULL, NULL);
    if (rc == SQLITE_INTERRUPT)
        report_add(look->report, REPORT_OK, CHECK, NULL,
                   "%s: in order as far as %d s show (%llu KiB; all of it: "
                   "sqlite3 %s 'PRAGMA quick_check')",
                   look->path, CHECK_MS / 1000, kib, look->path);
    else if (answer != NULL && strcmp(answer, "ok") == 0)
        report_add(look->report, REPORT_OK, CHECK, NULL,
                   "%s: in order (%llu KiB)", look->path, kib);
    else if (answer != NULL || rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB)
        report_add(look->report, REPORT_FAIL, CHECK,
                   "stop curt.fcgi and run `curt restore FILE` with a backup",
                   "%s: %s", look->path,
                   answer != NULL ? answer : sqlite3_errmsg(look->db));
    else /* locked, say, which is no damage */
        report_add(look->report, REPORT_WARN, CHECK,
                   "look at what else uses the file, then run this again",
                   "%s: its pages could not be looked at: %s", look->path,
                   sqlite3_errmsg(look->db));
    free(answer);
}

static void look_inside(struct look *look, const struct conf *conf)
{
    int rc = sqlite3_open_v2(look->path, &look->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(look->db, (int)conf->store_timeout * 1000);
        check_mode(look);
        check_pages(look);
    } else {
        report_add(look->report, REPORT_FAIL, CHECK,
                   "give it to the user that runs curt.fcgi", "%s: %s",
                   look->path, sqlite3_errstr(rc));
    }
    sqlite3_close(look->db);
}

/* Compares the clock with what curt knows about the time: when it was built,
 * when the newest link was made, and what the janitor has measured. A
 * line only where they disagree. */
static void check_clock(struct look *look, struct store *s)
{
    struct wallclock w;
    int64_t newest;
    const int64_t wall = clock_now();
    if (!wallclock_load(s->conf->state_dir, &w))
        w.time = wall;
    if (store_newest(s, &newest) == RESULT_OK && newest > w.time)
        w.time = newest;
    wallclock_now(&w);
    const int64_t ahead = wall - w.time;
    char *remove = mem_printf("set the clock; if it is right, stop curt.fcgi "
                              "and remove %s/clock",
                              s->conf->state_dir);
    if (wall < CURT_BUILD_TIME)
        report_add(look->report, REPORT_FAIL, CLOCK, "set the clock",
                   "this host's clock shows a time before this curt was built, "
                   "so no links are created");
    else if (ahead < -WALLCLOCK_BEHIND)
        report_add(look->report, REPORT_WARN, CLOCK, remove,
                   "this host's clock is %lld s behind the latest time that "
                   "curt has seen",
                   (long long)-ahead);
    else if (ahead > WALLCLOCK_AHEAD)
        report_add(look->report, REPORT_WARN, CLOCK,
                   "set the clock if it is wrong; if it is right, expired "
                   "links are removed again after a day",
                   "this host's clock is %lld s ahead of the time that curt "
                   "has measured: it jumped, or this machine was off",
                   (long long)ahead);
    free(remove);
}

/* What curt says of the file, with store_table_check(). True: it can be looked
 * into. */
static bool check_schema(struct look *look, struct store *s)
{
    struct buf findings;
    buf_init(&findings, 1u << 16);
    enum result r = store_table_check(s, &findings);
    const bool other = store_error(s)[0] != '\0';
    if (findings.len > 0) /* without the line's end */
        buf_truncate(&findings, findings.len - 1);
    if (r == RESULT_NOT_FOUND)
        report_add_error(look->report, REPORT_OK, CHECK, NULL, findings.data);
    else if (r == RESULT_INVALID && !other)
        report_add_error(look->report, REPORT_WARN, CHECK, NULL, findings.data);
    else if (r == RESULT_INVALID)
        report_add_error(look->report, REPORT_FAIL, CHECK,
                         "move it away, or let STATE_DIR be another directory",
                         findings.data);
    else if (r != RESULT_OK)
        report_add_error(look->report, REPORT_FAIL, CHECK,
                         "give it to the user that runs curt.fcgi",
                         store_error(s));
    buf_free(&findings);
    return r == RESULT_OK || (r == RESULT_INVALID && !other);
}

void sqlite_doctor(struct store *s, struct report *report)
{
    struct stat st;
    char *path = mem_printf("%s/curt.db", s->conf->state_dir);
    struct look look = {.path = path, .report = report};
    const bool there = stat(path, &st) == 0;
    if (there)
        look.size = (uint64_t)st.st_size;
    if (check_schema(&look, s) && there) {
        look_inside(&look, s->conf);
        check_clock(&look, s);
    }
    free(path);
}
