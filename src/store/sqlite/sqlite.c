/*
 * Links in an SQLite file, STATE_DIR/curt.db.
 *
 * WAL, so that redirects read while a link is written. synchronous=NORMAL, in
 * which a commit does not wait for the disk
 * (https://www.sqlite.org/pragma.html#pragma_synchronous); what is answered to
 * a client does, after the commit: make_durable(). So the write lock is free
 * while the disk works, and one sync serves all processes that wait for it.
 * Hits are not waited for: only a power loss can lose them.
 */
#include "store/store.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "config/dirs.h"
#include "store/sqlite/dbfile.h"
#include "store/sqlite/doctor.h"
#include "store/sqlite/write_lock.h"

/* Pages in the log that make a checkpoint worthwhile: SQLite's own default. */
#define LOG_PAGES 1000

/* SQL that takes the schema from version i to i + 1. Steps are never changed,
 * only added. */
static const char *const schema_steps[DBFILE_SCHEMA_VERSION] = {
    "CREATE TABLE links ("
    " short_id TEXT NOT NULL PRIMARY KEY,"
    " long_url TEXT NOT NULL,"
    " short_url TEXT NOT NULL,"
    " created_at TEXT NOT NULL,"
    " ttl INTEGER,"
    " hits INTEGER NOT NULL DEFAULT 0,"
    " analytics TEXT NOT NULL);"
    "CREATE INDEX links_ttl ON links (ttl) WHERE ttl IS NOT NULL;",

    /* The last flush of hits that the link has seen (store.h). One node is
     * enough: the journal is in the same directory. */
    "ALTER TABLE links ADD COLUMN node TEXT;"
    "ALTER TABLE links ADD COLUMN seq INTEGER;",

    /* link_fields, in their order; deleted_at: nothing else is left of the link
     * but its id. */
    "ALTER TABLE links ADD COLUMN title TEXT;"
    "ALTER TABLE links ADD COLUMN tags TEXT;"
    "ALTER TABLE links ADD COLUMN not_before INTEGER;"
    "ALTER TABLE links ADD COLUMN max_hits INTEGER;"
    "ALTER TABLE links ADD COLUMN redirect_status INTEGER;"
    "ALTER TABLE links ADD COLUMN forward_query INTEGER;"
    "ALTER TABLE links ADD COLUMN disabled INTEGER;"
    "ALTER TABLE links ADD COLUMN warning INTEGER;"
    "ALTER TABLE links ADD COLUMN reason TEXT;"
    "ALTER TABLE links ADD COLUMN key TEXT;"
    "ALTER TABLE links ADD COLUMN version INTEGER;"
    "ALTER TABLE links ADD COLUMN deleted_at INTEGER;"
    "CREATE TABLE records ("
    " key TEXT NOT NULL PRIMARY KEY,"
    " value TEXT NOT NULL,"
    " version INTEGER NOT NULL,"
    " used INTEGER NOT NULL DEFAULT 0,"
    " ttl INTEGER) WITHOUT ROWID;"
    "CREATE INDEX records_ttl ON records (ttl) WHERE ttl IS NOT NULL;",
};

/* The columns of link_fields, in their order. */
#define FIELDS                                                                 \
    "title, tags, not_before, max_hits, redirect_status, forward_query,"       \
    " disabled, warning, reason, key, version"

enum statement {
    CREATE,
    TARGET,
    WHOLE,
    EXISTS,
    REMOVE,
    PURGE,
    ADD_HITS,
    FLUSH_HITS,
    EXPIRE,
    EXPIRE_RECORDS,
    NEWEST,
    UPDATE,
    SPEND_HIT,
    RECORD_GET,
    RECORD_PUT,
    RECORD_REMOVE,
    RECORD_COUNT,
    STATEMENTS
};

/* ?1 is the short_id or the key of a record throughout; for a reader of links
 * ?2 is the oldest ttl that is still kept. */
static const char *const sql[STATEMENTS] = {
    [CREATE] = "INSERT INTO links (short_id, long_url, short_url, created_at,"
               " ttl, hits, analytics, " FIELDS ") VALUES (?1, ?2, ?3, ?4, ?5,"
               " ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"
               " ON CONFLICT (short_id) DO NOTHING",
    [TARGET] = "SELECT long_url, ttl, " FIELDS " FROM links"
               " WHERE short_id = ?1 AND (ttl IS NULL OR ttl > ?2)"
               " AND deleted_at IS NULL",
    [WHOLE] = "SELECT long_url, ttl, " FIELDS ", short_url, created_at, hits,"
              " analytics FROM links"
              " WHERE short_id = ?1 AND (ttl IS NULL OR ttl > ?2)"
              " AND deleted_at IS NULL",
    [EXISTS] = "SELECT 1 FROM links WHERE short_id = ?1"
               " AND deleted_at IS NULL",
    [REMOVE] = "UPDATE links SET (ttl, node, seq, " FIELDS ") = (NULL, NULL,"
               " NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
               " NULL, NULL), long_url = '', short_url = '',"
               " analytics = 'null', deleted_at = ?2"
               " WHERE short_id = ?1 AND deleted_at IS NULL",
    [PURGE] = "DELETE FROM links WHERE short_id = ?1",
    [ADD_HITS] = "UPDATE links SET hits = hits + ?2 WHERE short_id = ?1"
                 " AND deleted_at IS NULL",
    [FLUSH_HITS] = "UPDATE links SET hits = hits + ?2, node = ?3, seq = ?4"
                   " WHERE short_id = ?1 AND (node IS NOT ?3 OR seq < ?4)"
                   " AND deleted_at IS NULL",
    [EXPIRE] = "DELETE FROM links WHERE rowid IN (SELECT rowid FROM links"
               " WHERE ttl IS NOT NULL AND ttl <= ?1 ORDER BY ttl LIMIT ?2)",
    [EXPIRE_RECORDS] = "DELETE FROM records WHERE key IN (SELECT key FROM"
                       " records WHERE ttl IS NOT NULL AND ttl <= ?1"
                       " ORDER BY ttl LIMIT ?2)",
    [NEWEST] = "SELECT CAST(strftime('%s', created_at) AS INTEGER) FROM links"
               " WHERE strftime('%s', created_at) IS NOT NULL"
               " ORDER BY rowid DESC LIMIT 1",
    [UPDATE] = "UPDATE links SET long_url = ?2, ttl = ?5, (" FIELDS ") ="
               " (?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18 + 1)"
               " WHERE short_id = ?1 AND ifnull(version, 0) = ?18"
               " AND deleted_at IS NULL",
    [SPEND_HIT] = "UPDATE links SET hits = hits + 1 WHERE short_id = ?1"
                  " AND (max_hits IS NULL OR hits < max_hits)"
                  " AND deleted_at IS NULL",
    [RECORD_GET] = "SELECT value, version, ttl FROM records WHERE key = ?1"
                   " AND (ttl IS NULL OR ttl > ?2)",
    /* ?4: the version that is replaced; ?5: now. */
    [RECORD_PUT] = "INSERT INTO records (key, value, ttl, version)"
                   " SELECT ?1, ?2, ?3, ?4 + 1 WHERE ?4 = 0 OR EXISTS"
                   " (SELECT 1 FROM records WHERE key = ?1)"
                   " ON CONFLICT (key) DO UPDATE SET value = ?2, ttl = ?3,"
                   " version = ?4 + 1, used = 0"
                   " WHERE iif(ttl <= ?5, 0, version) = ?4",
    [RECORD_REMOVE] = "DELETE FROM records WHERE key = ?1",
    [RECORD_COUNT] = "INSERT INTO records (key, value, version, used, ttl)"
                     " VALUES (?1, '{}', 0, ?2, ?3)"
                     " ON CONFLICT (key) DO UPDATE SET used = used + ?2"
                     " RETURNING used",
};

struct store_sqlite {
    struct store base;
    char *path;
    sqlite3 *db;         /* NULL until it is first used, and after a fault */
    struct dbfile *file; /* likewise */
    struct write_lock *queue;
    bool pooled; /* any operation may create the file */
    sqlite3_stmt *statements[STATEMENTS];
};

static char *sqlite_identity(const struct conf *conf)
{
    return mem_printf("sqlite %s", conf->state_dir);
}

static struct store *sqlite_make(const struct conf *conf, bool pooled)
{
    struct store_sqlite *s = mem_zalloc(sizeof(*s));
    s->path = mem_printf("%s/curt.db", conf->state_dir);
    s->pooled = pooled;
    return &s->base;
}

static void close_db(struct store_sqlite *s)
{
    for (size_t i = 0; i < STATEMENTS; i++) {
        sqlite3_finalize(s->statements[i]);
        s->statements[i] = NULL;
    }
    sqlite3_close(s->db);
    s->db = NULL;
    dbfile_close(s->file); /* after SQLite */
    s->file = NULL;
}

static void sqlite_release(struct store *base)
{
    struct store_sqlite *s = (struct store_sqlite *)base;
    close_db(s);
    write_lock_close(s->queue);
    free(s->path);
    free(s);
}

static const char owner[] = "give it to the user that runs curt.fcgi";
static const char damaged[] = "it is damaged: stop curt.fcgi and run "
                              "`curt restore FILE` with a backup";

/* What an error means for the caller, and what fixes it
 * (https://www.sqlite.org/rescode.html). */
static const struct meaning {
    int code;
    enum result result;
    const char *advice;
} meanings[] = {
    {SQLITE_BUSY, RESULT_UNAVAILABLE, "database is locked by another process"},
    {SQLITE_FULL, RESULT_UNAVAILABLE, "the disk is full"},
    {SQLITE_IOERR, RESULT_UNAVAILABLE, "the disk is full or broken"},
    {SQLITE_CANTOPEN, RESULT_UNAVAILABLE, owner},
    {SQLITE_READONLY, RESULT_DENIED, owner},
    {SQLITE_CORRUPT, RESULT_INTERNAL, damaged},
    {SQLITE_NOTADB, RESULT_INTERNAL, damaged},
    {SQLITE_TOOBIG, RESULT_INVALID, "the link is too large"},
    {0, RESULT_INTERNAL, "unexpected SQLite error"},
};

/* Keeps the reason of the last call's failure. The connection is closed where a
 * new one may do better (the file was replaced, the disk works again). */
static enum result fail_sqlite(struct store_sqlite *s, int rc)
{
    const struct meaning *m = meanings;
    while (m->code != 0 && m->code != (rc & 0xff))
        m++;
    enum result r = store_fail(
        &s->base, m->result, "%s: %s; %s", s->path,
        s->db != NULL ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc), m->advice);
    if (m->code != SQLITE_BUSY && m->code != SQLITE_TOOBIG)
        close_db(s);
    return r;
}

static int run_sql(struct store_sqlite *s, const char *text)
{
    return sqlite3_exec(s->db, text, NULL, NULL, NULL);
}

/* The number that a PRAGMA answers. */
static int read_pragma(struct store_sqlite *s, const char *text, int *value)
{
    sqlite3_stmt *query;
    int rc = sqlite3_prepare_v2(s->db, text, -1, &query, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(query);
        *value = sqlite3_column_int(query, 0);
        sqlite3_finalize(query);
    }
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* Reads the application and the schema version of the file. Within one
 * transaction, or another worker could write both in between. */
static enum result read_version(struct store_sqlite *s, int *version)
{
    int application = 0;
    int rc = run_sql(s, "BEGIN");
    if (rc == SQLITE_OK)
        rc = read_pragma(s, "PRAGMA application_id", &application);
    if (rc == SQLITE_OK)
        rc = read_pragma(s, "PRAGMA user_version", version);
    if (rc == SQLITE_OK)
        rc = run_sql(s, "COMMIT");
    if (rc != SQLITE_OK)
        return fail_sqlite(s, rc);
    if (application != DBFILE_APPLICATION_ID &&
        (application != 0 || *version != 0))
        return store_fail(&s->base, RESULT_INVALID,
                          "%s: is an SQLite file of another program", s->path);
    if (*version > DBFILE_SCHEMA_VERSION)
        return store_fail(&s->base, RESULT_INVALID,
                          "%s: was written by a newer curt (schema %d, this "
                          "one knows %d); install that version",
                          s->path, *version, DBFILE_SCHEMA_VERSION);
    return RESULT_OK;
}

/* Brings the schema up to date. The version is read again under the write
 * lock: another worker may have been faster. */
static enum result migrate_schema(struct store_sqlite *s)
{
    int version = 0;
    int rc = run_sql(s, "BEGIN IMMEDIATE");
    if (rc == SQLITE_OK)
        rc = read_pragma(s, "PRAGMA user_version", &version);
    const bool is_new = version == 0;
    for (; rc == SQLITE_OK && version < DBFILE_SCHEMA_VERSION; version++)
        rc = run_sql(s, schema_steps[version]);
    if (rc == SQLITE_OK) {
        char *stamp = mem_printf("PRAGMA application_id = %d;"
                                 "PRAGMA user_version = %d;"
                                 "COMMIT",
                                 DBFILE_APPLICATION_ID, version);
        rc = run_sql(s, stamp);
        free(stamp);
    }
    if (rc != SQLITE_OK)
        return fail_sqlite(s, rc);
    /* The creation of the database is the first time that is known. */
    const char *dir = s->base.conf->state_dir;
    struct clock_measured w;
    if (is_new && !clock_load(dir, &w)) {
        clock_measure(&w);
        if (!clock_save(dir, &w))
            log_warning("%s/clock: %s", dir, strerror(errno));
    }
    return RESULT_OK;
}

/* SQLite waits for others until then. */
static void set_busy_timeout(struct store_sqlite *s, int64_t deadline)
{
    const int64_t left = deadline - clock_monotonic_ms();
    sqlite3_busy_timeout(s->db, left > 0 ? (int)left : 0);
}

/* After each commit. Does what SQLite does where there is no such function, a
 * checkpoint of a log with LOG_PAGES, and keeps the record of dbfile.h. The
 * header is read by SQLite, which would lose its locks if this process closed
 * the file. */
static int after_commit(void *argument, sqlite3 *db, const char *name,
                        int pages)
{
    struct store_sqlite *s = argument;
    sqlite3_file *file = NULL;
    unsigned char header[DBFILE_HEADER_SIZE];
    if (dbfile_log_is_new(s->file) &&
        sqlite3_file_control(db, name, SQLITE_FCNTL_FILE_POINTER, &file) ==
            SQLITE_OK &&
        file->pMethods->xRead(file, header, sizeof(header), 0) == SQLITE_OK)
        dbfile_record(s->file, header);
    if (pages >= LOG_PAGES)
        sqlite3_wal_checkpoint(db, name);
    return SQLITE_OK;
}

/* create: creates the file where it is missing. */
static enum result open_file(struct store_sqlite *s, bool create)
{
    const int64_t deadline = s->base.deadline;
    enum result r =
        dbfile_open(s->path, create, deadline, &s->file, &s->base.error);
    if (r != RESULT_OK)
        return r;
    if (!create && access(s->path, R_OK | W_OK) < 0) {
        r = errno != ENOENT
                ? dirs_refused(s->path, errno, &s->base.error)
                : store_fail(&s->base, RESULT_UNAVAILABLE,
                             "%s does not exist; curt.fcgi or `curt create` "
                             "creates it",
                             s->path);
        close_db(s);
        return r;
    }
    int rc = sqlite3_open_v2(s->path, &s->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return fail_sqlite(s, rc);
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_wal_hook(s->db, after_commit, s);
    set_busy_timeout(s, deadline);
    return RESULT_OK;
}

/* Opens the file and brings it up to date, unless it is open. */
static enum result open_db(struct store_sqlite *s, bool create)
{
    if (s->db != NULL)
        return RESULT_OK;
    int rc, version = 0;
    enum result r = open_file(s, create || s->pooled);
    if (r == RESULT_OK && s->queue == NULL)
        s->queue = write_lock_open(s->base.conf->runtime_dir, "writers");
    if (r == RESULT_OK)
        r = read_version(s, &version);
    if (r == RESULT_OK) {
        /* WAL is a property of the file. The change to it, once in the file's
         * life, does not wait for others that have just opened the file, busy
         * timeout or not, so it waits here. */
        const int64_t end = s->base.deadline;
        while (((rc = run_sql(s, "PRAGMA journal_mode = WAL;"
                                 "PRAGMA synchronous = NORMAL;"
                                 "PRAGMA journal_size_limit = 67108864;"
                                 "PRAGMA cache_size = -512;")) &
                0xff) == SQLITE_BUSY &&
               clock_monotonic_ms() < end)
            sqlite3_sleep(10);
        if (rc != SQLITE_OK)
            r = fail_sqlite(s, rc);
    }
    if (r == RESULT_OK && version < DBFILE_SCHEMA_VERSION)
        r = migrate_schema(s);
    if (r != RESULT_OK)
        close_db(s);
    return r;
}

/* The prepared statement, ready for its parameters, the first of which is the
 * short_id where there is one. */
static enum result prepare_statement(struct store_sqlite *s,
                                     enum statement which, const char *short_id,
                                     sqlite3_stmt **out)
{
    enum result r = open_db(s, which == CREATE || which >= RECORD_GET);
    if (r != RESULT_OK)
        return r;
    if (s->statements[which] == NULL) {
        int rc =
            sqlite3_prepare_v3(s->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                               &s->statements[which], NULL);
        if (rc != SQLITE_OK)
            return fail_sqlite(s, rc);
    }
    *out = s->statements[which];
    set_busy_timeout(s, s->base.deadline);
    if (short_id != NULL)
        sqlite3_bind_text(*out, 1, short_id, -1, SQLITE_STATIC);
    return RESULT_OK;
}

/* Ends a statement: its locks are released, its parameters forgotten. */
static void finish_statement(sqlite3_stmt *statement)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

/* Ends a query whose first step returned rc. found: the result for a row. */
static enum result finish_query(struct store_sqlite *s, sqlite3_stmt *query,
                                int rc, enum result found)
{
    finish_statement(query);
    return rc == SQLITE_ROW    ? found
           : rc == SQLITE_DONE ? RESULT_NOT_FOUND
                               : fail_sqlite(s, rc);
}

/* Runs a statement that changes rows; *changed is how many. */
static enum result run_change(struct store_sqlite *s, sqlite3_stmt *statement,
                              int *changed)
{
    const int64_t deadline = s->base.deadline;
    bool taken = write_lock_take(s->queue, deadline);
    set_busy_timeout(s, deadline);
    int rc = sqlite3_step(statement);
    if (taken)
        write_lock_release(s->queue);
    *changed = sqlite3_changes(s->db);
    finish_statement(statement);
    return rc == SQLITE_DONE ? RESULT_OK : fail_sqlite(s, rc);
}

/* Waits until what was committed is on the disk. */
static enum result make_durable(struct store_sqlite *s)
{
    if (dbfile_sync_log(s->file))
        return RESULT_OK;
    enum result r =
        store_fail(&s->base, RESULT_UNKNOWN, "%s-wal: sync failed: %s", s->path,
                   strerror(errno));
    close_db(s);
    return r;
}

static enum result sqlite_settle(struct store *base)
{
    struct store_sqlite *s = (struct store_sqlite *)base;
    enum result r = open_db(s, false);
    return r == RESULT_OK ? make_durable(s) : r;
}

/* The parameters of CREATE and UPDATE, which have the same numbers. */
static void bind_link(sqlite3_stmt *statement, const struct link *l)
{
    sqlite3_bind_text(statement, 2, l->long_url, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, l->short_url, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 4, l->created_at, -1, SQLITE_STATIC);
    if (l->ttl != LINK_NEVER)
        sqlite3_bind_int64(statement, 5, l->ttl);
    sqlite3_bind_int64(statement, 6, (sqlite3_int64)l->hits);
    sqlite3_bind_text(statement, 7, l->analytics, -1, SQLITE_STATIC);
    for (int i = 0; i < LINK_FIELDS; i++) {
        const enum link_type type = link_fields[i].type;
        if (type == LINK_NUMBER && *link_number_at(l, (size_t)i) > 0)
            sqlite3_bind_int64(statement, 8 + i,
                               (sqlite3_int64)*link_number_at(l, (size_t)i));
        else if (type == LINK_FLAG && *link_flag_at(l, (size_t)i))
            sqlite3_bind_int(statement, 8 + i, 1);
        else if (type == LINK_TEXT || type == LINK_TAGS)
            sqlite3_bind_text(statement, 8 + i, *link_text_at(l, (size_t)i), -1,
                              SQLITE_STATIC);
    }
}

static enum result sqlite_create(struct store *base, const struct link *l)
{
    struct store_sqlite *s = (struct store_sqlite *)base;
    sqlite3_stmt *insert = NULL;
    enum result r = prepare_statement(s, CREATE, l->short_id, &insert);
    if (r != RESULT_OK)
        return r;
    bind_link(insert, l);
    int changed;
    r = run_change(s, insert, &changed);
    if (r == RESULT_OK && changed == 0)
        return RESULT_CONFLICT;
    return r == RESULT_OK ? make_durable(s) : r;
}

/* One transaction: all that have no result of their own get that of its end. */
static void sqlite_create_many(struct store *base, const struct link *links,
                               size_t count, enum result results[])
{
    struct store_sqlite *s = (struct store_sqlite *)base;
    sqlite3_stmt *insert = NULL;
    enum result r = prepare_statement(s, CREATE, NULL, &insert);
    const bool taken =
        r == RESULT_OK && write_lock_take(s->queue, base->deadline);
    int rc = r == RESULT_OK ? run_sql(s, "BEGIN IMMEDIATE") : SQLITE_OK;
    for (size_t i = 0; i < count; i++) {
        results[i] = RESULT_OK;
        if (r != RESULT_OK || rc != SQLITE_OK)
            continue;
        sqlite3_bind_text(insert, 1, links[i].short_id, -1, SQLITE_STATIC);
        bind_link(insert, &links[i]);
        if (sqlite3_step(insert) != SQLITE_DONE)
            rc = sqlite3_errcode(s->db);
        else if (sqlite3_changes(s->db) == 0)
            results[i] = RESULT_CONFLICT;
        finish_statement(insert);
    }
    if (r == RESULT_OK && rc == SQLITE_OK)
        rc = run_sql(s, "COMMIT");
    if (rc != SQLITE_OK) {
        r = fail_sqlite(s, rc);
        if (s->db != NULL)
            run_sql(s, "ROLLBACK");
    }
    if (taken)
        write_lock_release(s->queue);
    if (r == RESULT_OK)
        r = make_durable(s);
    for (size_t i = 0; i < count; i++)
        if (r != RESULT_OK)
            results[i] = r;
}

/* A column as text that the caller owns; NULL where it is not text. */
static char *take_text(sqlite3_stmt *row, int column)
{
    if (sqlite3_column_type(row, column) != SQLITE_TEXT)
        return NULL;
    return mem_dup((const char *)sqlite3_column_text(row, column));
}

static void take_row(sqlite3_stmt *row, enum store_view view,
                     const char *short_id, struct link *out)
{
    out->short_id = mem_dup(short_id);
    out->long_url = take_text(row, 0);
    const int type = sqlite3_column_type(row, 1);
    if (type == SQLITE_INTEGER || type == SQLITE_FLOAT)
        link_set_ttl(out, sqlite3_column_int64(row, 1));
    else if (type == SQLITE_TEXT)
        link_set_odd_ttl(out, "the text",
                         (const char *)sqlite3_column_text(row, 1));
    else if (type == SQLITE_BLOB)
        link_set_odd_ttl(out, "the value", "BLOB");
    int column = 2;
    for (size_t i = 0; i < LINK_FIELDS; i++, column++) {
        const sqlite3_int64 number = sqlite3_column_int64(row, column);
        if (link_fields[i].type == LINK_NUMBER)
            *link_number_at(out, i) = number > 0 ? (uint64_t)number : 0;
        else if (link_fields[i].type == LINK_FLAG)
            *link_flag_at(out, i) = number != 0;
        else
            *link_text_at(out, i) = take_text(row, column);
    }
    if (view != STORE_WHOLE)
        return;
    out->short_url = take_text(row, column);
    out->created_at = take_text(row, column + 1);
    sqlite3_int64 hits = sqlite3_column_int64(row, column + 2);
    out->hits = hits > 0 ? (uint64_t)hits : 0;
    out->analytics = take_text(row, column + 3);
}

static enum result sqlite_get(struct store *base, const char *short_id,
                              enum store_view view, struct link *out)
{
    struct store_sqlite *s = (struct store_sqlite *)base;
    sqlite3_stmt *row = NULL;
    enum result r = prepare_statement(s, view == STORE_WHOLE ? WHOLE : TARGET,
                                      short_id, &row);
    if (r != RESULT_OK)
        return r;
    sqlite3_bind_int64(row, 2, clock_now() - STORE_KEEP_EXPIRED);
    const int rc = sqlite3_step(row);
    if (rc == SQLITE_ROW)
        take_row(row, view, short_id, out);
    r = finish_query(s, row, rc, RESULT_OK);
    if (r != RESULT_OK || out->long_url != NULL)
        return r;
    link_free(out);
    return store_fail(base, RESULT_CORRUPT,
                      "%s: the long_url of %s is not text", s->path, short_id);
}

static enum result sqlite_remove(struct store *base, const char *short_id)
{
    struct store_sqlite *s = (struct store_sqlite *)base;
    sqlite3_stmt *statement = NULL;
    int changed;
    enum result r = prepare_statement(s, REMOVE, short_id, &statement);
    if (r == RESULT_OK) {
        sqlite3_bind_int64(statement, 2, clock_now());
        r = run_change(s, statement, &changed);
    }
    if (r == RESULT_OK && changed == 0)
        return RESULT_NOT_FOUND;
    return r == RESULT_OK ? make_durable(s) : r;
}

/* After a change of a link that met no row: whether there is such a link. */
static enum result find_link(struct store_sqlite *s, const char *short_id,
                             enum result found)
{
    sqlite3_stmt *query = NULL;
    enum result r = prepare_statement(s, EXISTS, short_id, &query);
    return r == RESULT_OK ? finish_query(s, query, sqlite3_step(query), found)
                          : r;
}

static enum result sqlite_add_hits(struct store *base, const char *short_id,
                                   uint64_t n, const struct store_flush *flush)
{
    struct store_sqlite *s = (struct store_sqlite *)base;
    sqlite3_stmt *statement = NULL;
    int changed;
    enum result r = prepare_statement(s, flush != NULL ? FLUSH_HITS : ADD_HITS,
                                      short_id, &statement);
    if (r != RESULT_OK)
        return r;
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)n);
    if (flush != NULL) {
        sqlite3_bind_text(statement, 3, flush->node, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 4, (sqlite3_int64)flush->seq);
    }
    r = run_change(s, statement, &changed);
    if (r != RESULT_OK || changed > 0)
        return r;
    if (flush == NULL)
        return RESULT_NOT_FOUND;
    /* The link was deleted, or it has this flush already. */
    return find_link(s, short_id, RESULT_CONFLICT);
}

static enum result sqlite_update(struct store *base, const struct link *l)
{
    struct store_sqlite *s = (struct store_sqlite *)base;
    sqlite3_stmt *statement = NULL;
    int changed;
    enum result r = prepare_statement(s, UPDATE, l->short_id, &statement);
    if (r != RESULT_OK)
        return r;
    bind_link(statement, l);
    sqlite3_bind_int64(statement, 8 + LINK_FIELD_VERSION,
                       (sqlite3_int64)l->version);
    r = run_change(s, statement, &changed);
    if (r == RESULT_OK && changed == 0)
        return find_link(s, l->short_id, RESULT_CONFLICT);
    return r == RESULT_OK ? make_durable(s) : r;
}

static enum result sqlite_spend_hit(struct store *base, const char *short_id)
{
    struct store_sqlite *s = (struct store_sqlite *)base;
    sqlite3_stmt *statement = NULL;
    int changed;
    enum result r = prepare_statement(s, SPEND_HIT, short_id, &statement);
    if (r == RESULT_OK)
        r = run_change(s, statement, &changed);
    if (r == RESULT_OK && changed == 0)
        return RESULT_CONFLICT;
    return r == RESULT_OK ? make_durable(s) : r;
}

static enum result run_expire(struct store_sqlite *s, enum statement which,
                              int64_t before, unsigned limit, int *removed)
{
    sqlite3_stmt *statement = NULL;
    enum result r = prepare_statement(s, which, NULL, &statement);
    if (r != RESULT_OK)
        return r;
    sqlite3_bind_int64(statement, 1, before);
    sqlite3_bind_int64(statement, 2, limit);
    return run_change(s, statement, removed);
}

static enum result sqlite_expire(struct store *base, int64_t now,
                                 unsigned limit, unsigned *removed)
{
    struct store_sqlite *s = (struct store_sqlite *)base;
    int links = 0, records;
    enum result r =
        run_expire(s, EXPIRE, now - STORE_KEEP_EXPIRED, limit, &links);
    if (r == RESULT_OK)
        r = run_expire(s, EXPIRE_RECORDS, now, limit, &records);
    if (r == RESULT_OK)
        *removed = (unsigned)links;
    return r;
}

static enum result sqlite_record_get(struct store *base, const char *key,
                                     bool consistent, struct store_record *out)
{
    (void)consistent; /* it always is */
    struct store_sqlite *s = (struct store_sqlite *)base;
    sqlite3_stmt *row = NULL;
    enum result r = prepare_statement(s, RECORD_GET, key, &row);
    if (r != RESULT_OK)
        return r;
    sqlite3_bind_int64(row, 2, clock_now());
    const int rc = sqlite3_step(row);
    enum result parsed = RESULT_OK;
    if (rc == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(row, 0);
        parsed = text == NULL
                     ? RESULT_CORRUPT
                     : json_parse(text, strlen(text), JSON_LEVELS, &out->value);
        out->version = (uint64_t)sqlite3_column_int64(row, 1);
        if (sqlite3_column_type(row, 2) == SQLITE_INTEGER)
            out->ttl = sqlite3_column_int64(row, 2);
    }
    r = finish_query(s, row, rc, RESULT_OK);
    if (r == RESULT_OK && parsed != RESULT_OK)
        r = store_fail(base, RESULT_CORRUPT, "%s: the record %s is not JSON",
                       s->path, key);
    return r;
}

static enum result sqlite_record_put(struct store *base, const char *key,
                                     const struct store_record *record)
{
    struct store_sqlite *s = (struct store_sqlite *)base;
    sqlite3_stmt *statement = NULL;
    int changed;
    enum result r = prepare_statement(s, RECORD_PUT, key, &statement);
    if (r != RESULT_OK)
        return r;
    sqlite3_bind_text(statement, 2, json_text(record->value), -1,
                      SQLITE_STATIC);
    if (record->ttl != LINK_NEVER)
        sqlite3_bind_int64(statement, 3, record->ttl);
    sqlite3_bind_int64(statement, 4, (sqlite3_int64)record->version);
    sqlite3_bind_int64(statement, 5, clock_now());
    r = run_change(s, statement, &changed);
    if (r == RESULT_OK && changed == 0)
        return RESULT_CONFLICT;
    return r == RESULT_OK ? make_durable(s) : r;
}

static enum result sqlite_purge(struct store *base, const char *key)
{
    struct store_sqlite *s = (struct store_sqlite *)base;
    sqlite3_stmt *statement = NULL;
    int changed;
    enum result r = prepare_statement(s, key[0] == '~' ? RECORD_REMOVE : PURGE,
                                      key, &statement);
    if (r == RESULT_OK)
        r = run_change(s, statement, &changed);
    if (r == RESULT_OK && changed == 0)
        return RESULT_NOT_FOUND;
    return r == RESULT_OK ? make_durable(s) : r;
}

static enum result sqlite_record_count(struct store *base, const char *key,
                                       uint64_t n, int64_t ttl, uint64_t *total)
{
    struct store_sqlite *s = (struct store_sqlite *)base;
    sqlite3_stmt *row = NULL;
    enum result r = prepare_statement(s, RECORD_COUNT, key, &row);
    if (r != RESULT_OK)
        return r;
    sqlite3_bind_int64(row, 2, (sqlite3_int64)n);
    sqlite3_bind_int64(row, 3, ttl);
    const bool taken = write_lock_take(s->queue, base->deadline);
    int rc = sqlite3_step(row);
    if (rc == SQLITE_ROW) {
        *total = (uint64_t)sqlite3_column_int64(row, 0);
        rc = sqlite3_step(row); /* the change counts from here on */
    }
    if (taken)
        write_lock_release(s->queue);
    finish_statement(row);
    return rc == SQLITE_DONE ? RESULT_OK : fail_sqlite(s, rc);
}

static enum result sqlite_newest(struct store *base, int64_t *created_at)
{
    struct store_sqlite *s = (struct store_sqlite *)base;
    sqlite3_stmt *row = NULL;
    enum result r = prepare_statement(s, NEWEST, NULL, &row);
    if (r != RESULT_OK)
        return r;
    const int rc = sqlite3_step(row);
    *created_at = sqlite3_column_int64(row, 0);
    return finish_query(s, row, rc, RESULT_OK);
}

static enum result sqlite_table_create(struct store *base,
                                       const struct store_table *wanted)
{
    (void)wanted; /* a file has none of it */
    return open_db((struct store_sqlite *)base, true);
}

/* Looks at the file without making or changing anything. */
static enum result sqlite_table_check(struct store *base, struct buf *findings,
                                      struct buf *notes)
{
    (void)notes; /* a file has nothing to note */
    struct store_sqlite *s = (struct store_sqlite *)base;
    close_db(s);
    int version = 0;
    const bool absent = access(s->path, F_OK) < 0 && errno == ENOENT;
    enum result r = absent ? RESULT_OK : open_file(s, false);
    if (r == RESULT_OK && !absent)
        r = read_version(s, &version);
    if (r == RESULT_OK && version == 0) { /* another process begins it */
        buf_addf(
            findings,
            "%s does not exist yet; `curt table create` or the first request "
            "creates it\n",
            s->path);
        r = RESULT_NOT_FOUND;
    }
    if (r == RESULT_INVALID)
        buf_addf(findings, "%s\n", store_error(base));
    if (r == RESULT_OK && version < DBFILE_SCHEMA_VERSION) {
        buf_addf(findings,
                 "%s: has schema %d, this curt wants %d; `curt table create` "
                 "or the next start brings it up to date\n",
                 s->path, version, DBFILE_SCHEMA_VERSION);
        r = RESULT_INVALID;
    }
    close_db(s);
    return r;
}

const struct store_ops store_sqlite_ops = {
    .name = "sqlite",
    .identity = sqlite_identity,
    .make = sqlite_make,
    .release = sqlite_release,
    .create = sqlite_create,
    .create_many = sqlite_create_many,
    .get = sqlite_get,
    .settle = sqlite_settle,
    .update = sqlite_update,
    .spend_hit = sqlite_spend_hit,
    .record_get = sqlite_record_get,
    .record_put = sqlite_record_put,
    .record_count = sqlite_record_count,
    .remove = sqlite_remove,
    .purge = sqlite_purge,
    .add_hits = sqlite_add_hits,
    .expire = sqlite_expire,
    .newest = sqlite_newest,
    .table_create = sqlite_table_create,
    .table_check = sqlite_table_check,
    .inspect = sqlite_doctor,
};
