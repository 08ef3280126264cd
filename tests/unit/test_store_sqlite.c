/* What only the SQLite store has: waits that end with the request. */
#include "test.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "service/create.h"
#include "store/sqlite/dbfile.h"
#include "store/store.h"

static char path[64];
static struct conf conf;

/* Creates a link within so many ms of its request, and returns how long it
 * took. */
static int64_t create_within(struct store *s, int64_t ms, enum result wanted)
{
    const int64_t begin = clock_monotonic_ms();
    const struct create_context context = {
        .conf = &conf, .store = s, .deadline = begin + ms};
    struct create_request request = {.url = "https://example.com/",
                                     .url_len = 20};
    link_init(&request.link);
    create_links(&context, &request, 1);
    assert_int_equal(request.result, wanted);
    link_free(&request.link);
    return clock_monotonic_ms() - begin;
}

static sqlite3 *hold(const char *lock)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, lock, NULL, NULL, NULL), SQLITE_OK);
    return db;
}

TEST(sqlite_waits_no_longer_than_the_request)
{
    struct store *s = store_new(&conf);
    create_within(s, 20000, RESULT_OK);
    sqlite3 *db = hold("BEGIN IMMEDIATE");
    /* STORE_TIMEOUT is 30 s here. */
    assert_in_range(create_within(s, 200, RESULT_UNAVAILABLE), 150, 25000);
    /* Also without any time left, and with more than the turn takes. */
    assert_in_range(create_within(s, -5, RESULT_UNAVAILABLE), 0, 25000);
    assert_in_range(create_within(s, 900, RESULT_UNAVAILABLE), 850, 25000);
    sqlite3_close(db);
    create_within(s, 20000, RESULT_OK);
    store_free(s);
}

TEST(sqlite_connects_no_longer_than_the_request)
{
    sqlite3 *db = hold("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE");
    struct store *s = store_new(&conf);
    assert_in_range(create_within(s, 300, RESULT_UNAVAILABLE), 250, 25000);
    sqlite3_close(db);
    create_within(s, 20000, RESULT_OK);
    store_free(s);
}

TEST(sqlite_knows_the_newest_link)
{
    int64_t newest = 0;
    struct store *s = store_new(&conf);
    create_within(s, 20000, RESULT_OK);
    assert_int_equal(store_newest(s, &newest), RESULT_OK);
    assert_in_range(newest, clock_now() - 600, clock_now());
    store_free(s);
    sqlite3 *db = hold("UPDATE links SET created_at = 'yesterday'");
    s = store_new(&conf);
    assert_int_equal(store_newest(s, &newest), RESULT_NOT_FOUND);
    store_free(s);
    sqlite3_close(db);
}

/* Reads the salts in a file beside the database. */
static void read_salts(const char *ending, unsigned char salts[8])
{
    char name[80];
    snprintf(name, sizeof(name), "%s%s", path, ending);
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    assert_int_equal(fseek(f, 16, SEEK_SET), 0);
    assert_int_equal(fread(salts, 8, 1, f), 1);
    fclose(f);
}

/* A log that was left over, and that its program removes before SQLite opens
 * the database here: the log to sync is the next one. */
TEST(dbfile_syncs_the_log_that_sqlite_has)
{
    struct dbfile *f;
    struct buf reason;
    unsigned char salts[8], recorded[8];
    const unsigned char header[DBFILE_HEADER_SIZE] = {0};
    buf_init(&reason, 256);
    struct store *s = store_new(&conf);
    create_within(s, 20000, RESULT_OK);
    sqlite3 *shell = hold("UPDATE links SET hits = hits + 1");
    store_free(s);
    assert_int_equal(dbfile_open(path, true, 0, &f, &reason), RESULT_OK);
    sqlite3_close(shell);
    shell = hold("UPDATE links SET hits = hits + 1");
    assert_true(dbfile_log_is_new(f));
    dbfile_record(f, header);
    read_salts("-wal", salts);
    read_salts("-lock", recorded);
    assert_memory_equal(recorded, salts, sizeof(salts));
    sqlite3_close(shell);
    dbfile_close(f);
    buf_free(&reason);
}

/* After a power loss a log can have its length and no contents. */
TEST(dbfile_opens_beside_a_log_of_zeros)
{
    struct dbfile *f;
    struct buf reason;
    char name[80];
    buf_init(&reason, 256);
    snprintf(name, sizeof(name), "%s-lock", path);
    unlink(name);
    snprintf(name, sizeof(name), "%s-wal", path);
    FILE *log = fopen(name, "w");
    assert_non_null(log);
    assert_int_equal(ftruncate(fileno(log), 4152), 0);
    fclose(log);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(dbfile_open(path, true, 0, &f, &reason), RESULT_OK);
        dbfile_close(f);
    }
    /* Whoever can open the lock file can keep everybody out. */
    struct stat st;
    snprintf(name, sizeof(name), "%s-lock", path);
    assert_int_equal(stat(name, &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
    snprintf(name, sizeof(name), "%s-wal", path);
    buf_free(&reason);
    unlink(name);
}

static int load_conf(void **state)
{
    (void)state;
    struct buf faults;
    const char *dir = temp_dir();
    snprintf(path, sizeof(path), "%s/curt.db", dir);
    setenv("STATE_DIR", dir, 1);
    setenv("RUNTIME_DIR", dir, 1);
    setenv("APP_URL", "https://sho.rt/t/", 1);
    setenv("STORE_TIMEOUT", "30", 1);
    buf_init(&faults, CONF_FAULTS_MAX);
    assert_int_equal(conf_load("/dev/null", &conf, &faults), RESULT_OK);
    buf_free(&faults);
    return 0;
}

static int free_conf(void **state)
{
    (void)state;
    conf_free(&conf);
    return 0;
}

ALL_TESTS(load_conf, free_conf)
