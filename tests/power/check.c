/*
 * Takes a STATE_DIR over as the processes of curt do after a boot, and prints
 * what is in it then: for tests/e2e/test_power_loss.py, which has thousands of
 * them.
 *
 * usage: check CONFIGURATION IDS PART ...
 *
 * IDS: a file with one short_id and its long URL per line. PART: which parts of
 * the journal have slots in use, of PARTS; to look at the others, which are
 * empty, would take nearly all of the time. For each line of
 * standard input it opens journal and store, flushes twice, as two janitors
 * would in turn, removes what has expired and answers with lines of fields that
 * tabs divide:
 *
 *   link ID HITS TTL VERSION URL     URL: "=" where it is the one in IDS
 *   used KEY N           of each quota
 *   fault TEXT           what should not happen
 *   end
 *
 * The line "all" has SQLite look at the whole database as well.
 */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/conf.h"
#include "service/hits.h"
#include "store/store.h"

#define IDS     1000
#define PARTS   4096
#define AT_ONCE 100

/* The other store is not linked. */
const struct store_ops store_dynamodb_ops = {.name = "dynamodb"};

static struct {
    char *id, *url;
} ids[IDS];
static size_t id_count;

static void read_ids(const char *path)
{
    FILE *in = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    if (in == NULL)
        exit(EX_NOINPUT);
    while (id_count < IDS && getline(&line, &size, in) > 0) {
        line[strcspn(line, "\n")] = '\0';
        char *url = line + strcspn(line, "\t");
        *url++ = '\0';
        ids[id_count].id = mem_dup(line);
        ids[id_count++].url = mem_dup(url);
    }
    free(line);
    fclose(in);
}

/* As the janitor does it first. */
static void flush_journal(const struct conf *conf, struct store *store,
                          char **parts)
{
    bool failed = false;
    struct hits *hits = hits_open(conf, &failed);
    const char *reason = "";
    struct hits_flushed flushed = {0};
    _Atomic int64_t left = INT64_MAX;
    if (failed)
        printf("fault\tthe journal cannot be opened\n");
    for (; *parts != NULL; parts++) {
        const unsigned part = (unsigned)strtoul(*parts, NULL, 10);
        if (!hits_begin_flush(hits, part, PARTS, &reason))
            printf("fault\tno flush: %s\n", reason != NULL ? reason : "locked");
        else
            hits_flush(hits, store, part, PARTS, &left, &flushed);
        if (flushed.failed > 0)
            printf("fault\tflush: %s\n", flushed.error);
    }
    hits_close(hits);
}

static void print_links(struct store *store)
{
    for (size_t i = 0; i < id_count; i++) {
        const char *id = ids[i].id;
        struct link link;
        link_init(&link);
        const enum result r = store_get(store, id, STORE_WHOLE, 0, &link);
        if (r == RESULT_OK)
            printf("link\t%s\t%" PRIu64 "\t%" PRId64 "\t%" PRIu64 "\t%s\n", id,
                   link.hits, link.ttl, link.version,
                   strcmp(link.long_url, ids[i].url) == 0 ? "="
                                                          : link.long_url);
        else if (r != RESULT_NOT_FOUND)
            printf("fault\t%s: %s: %s\n", id, result_text(r),
                   store_error(store));
        link_free(&link);
    }
}

static int print_row(void *kind, int count, char **values, char **names)
{
    (void)names;
    printf("%s", (const char *)kind);
    for (int i = 0; i < count; i++)
        printf("\t%s", values[i]);
    printf("\n");
    return 0;
}

/* What curt does not print, by SQLite's own means. The connection is returned:
 * as long as it is open, the store's close copies no log into the database, and
 * its own does not either. All that is printed is known by then. */
static sqlite3 *print_database(const struct conf *conf, bool check)
{
    char *path = mem_printf("%s/curt.db", conf->state_dir), *error = NULL;
    char used[] = "used", fault[] = "fault";
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) !=
            SQLITE_OK ||
        sqlite3_exec(db,
                     "SELECT key, used FROM records WHERE key LIKE '~quota~%'",
                     print_row, used, &error) != SQLITE_OK ||
        (check && sqlite3_exec(db,
                               "SELECT * FROM pragma_integrity_check"
                               " WHERE integrity_check <> 'ok'",
                               print_row, fault, &error) != SQLITE_OK))
        printf("fault\t%s\n", error != NULL ? error : "cannot open curt.db");
    sqlite3_free(error);
    free(path);
    return db;
}

int main(int argc, char **argv)
{
    struct conf conf;
    struct buf faults;
    char line[16];
    buf_init(&faults, CONF_FAULTS_MAX);
    if (argc < 3 || conf_load(argv[1], &conf, &faults) != RESULT_OK) {
        fprintf(stderr, "usage: check CONFIGURATION IDS PART ...\n%s",
                faults.data);
        return EX_USAGE;
    }
    log_open("check");
    read_ids(argv[2]);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        struct store *store = store_new_pooled(&conf);
        unsigned removed = 0;
        for (int i = 0; i < 2; i++)
            flush_journal(&conf, store, argv + 3);
        enum result r = store_expire(store, clock_now(), AT_ONCE, &removed);
        if (r != RESULT_OK)
            printf("fault\texpire: %s: %s\n", result_text(r),
                   store_error(store));
        print_links(store);
        sqlite3 *db = print_database(&conf, strcmp(line, "all\n") == 0);
        store_free(store);
        sqlite3_close(db);
        printf("end\n");
        fflush(stdout);
    }
    for (size_t i = 0; i < id_count; i++) {
        free(ids[i].id);
        free(ids[i].url);
    }
    conf_free(&conf);
    buf_free(&faults);
    return EX_OK;
}
