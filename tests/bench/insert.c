/*
 * How fast SQLite takes links when nothing is in between: one durable INSERT
 * after the other, with the table and the settings that curt has.
 *
 *     insert FILE SECONDS NUMBER
 *
 * NUMBER tells processes that run at the same time apart. Prints how many rows
 * it inserted. The table must be there (`curt table create`).
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int fail(sqlite3 *db)
{
    fprintf(stderr, "insert: %s\n", sqlite3_errmsg(db));
    return 1;
}

static const char sql[] =
    "INSERT INTO links (short_id, long_url, short_url, created_at, ttl, hits,"
    " analytics) VALUES (?1, ?2, ?3, '2018-11-29T00:05:02', 4102444800, 0,"
    " '{\"user_agent\":null,\"source_ip\":\"127.0.0.1\",\"xray_trace_id\":"
    "\"Root=1-00000000-000000000000000000000000\"}')"
    " ON CONFLICT (short_id) DO NOTHING";

/* The low digit first, so that ids are as far apart in the index as curt's. */
static void make_id(char id[8], unsigned long long n)
{
    static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz";
    n = n * 715827883 % 3521614606208;
    for (int i = 0; i < 7; i++, n /= 62)
        id[i] = alphabet[n % 62];
    id[7] = '\0';
}

static int insert(sqlite3 *db, sqlite3_stmt *statement, unsigned long long n)
{
    char id[8];
    char long_url[80];
    char short_url[80];
    make_id(id, n);
    snprintf(long_url, sizeof(long_url), "https://example.com/made/%llu", n);
    snprintf(short_url, sizeof(short_url), "http://127.0.0.1/t/%s", id);
    sqlite3_bind_text(statement, 1, id, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, long_url, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, short_url, -1, SQLITE_STATIC);
    int rc = sqlite3_step(statement);
    sqlite3_reset(statement);
    return rc == SQLITE_DONE ? 0 : fail(db);
}

int main(int argc, char **argv)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    if (argc != 4) {
        fprintf(stderr, "usage: insert FILE SECONDS NUMBER\n");
        return 64;
    }
    if (sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL) != 0 ||
        sqlite3_busy_timeout(db, 3000) != 0 ||
        sqlite3_exec(db,
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                     "PRAGMA journal_size_limit = 67108864",
                     NULL, NULL, NULL) != 0 ||
        sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != 0)
        return fail(db);
    const double end = now() + strtod(argv[2], NULL);
    /* Beyond the links that links.py makes. */
    unsigned long long n = 1000000000 + strtoull(argv[3], NULL, 10) * 50000000;
    unsigned long count = 0;
    for (; now() < end; n++, count++)
        if (insert(db, statement, n) != 0)
            return 1;
    printf("%lu\n", count);
    sqlite3_finalize(statement);
    return sqlite3_close(db) == SQLITE_OK ? 0 : fail(db);
}
