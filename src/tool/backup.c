/* curt backup and curt restore: copies of the SQLite file. See curt(1). */
#include <errno.h>
#include <glob.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/mem.h"
#include "config/dirs.h"
#include "store/sqlite/backup.h"
#include "tool/main.h"

#define REASON_MAX 4096

static int refuse_dynamodb(const struct ctl *ctl)
{
    ctl_say(stderr,
            "curt: STORE is dynamodb, which has backups of its own: "
            "point-in-time recovery (`curt table create "
            "--point-in-time-recovery`, `aws dynamodb "
            "restore-table-to-point-in-time`) and on-demand backups (`aws "
            "dynamodb create-backup --table-name %s --backup-name NAME`, `aws "
            "dynamodb restore-table-from-backup`)",
            ctl->conf.table != NULL ? ctl->conf.table : "TABLE");
    return EX_USAGE;
}

int ctl_backup(struct ctl *ctl, const char *file)
{
    if (ctl->conf.store != CONF_STORE_SQLITE)
        return refuse_dynamodb(ctl);
    struct sqlite_copy copy;
    struct buf reason;
    uint64_t hits, links;
    buf_init(&reason, REASON_MAX);
    enum result r = sqlite_backup(&ctl->conf, file, &copy, &reason);
    hits_pending_all(ctl->hits, &hits, &links);
    if (r != RESULT_OK) {
        ctl_say(stderr, "curt: backup failed: %s", reason.data);
    } else if (ctl->json) {
        json_object *answer = json_object_new_object();
        ctl_add_number(answer, "links", copy.links);
        ctl_add_number(answer, "bytes", copy.bytes);
        ctl_add_number(answer, "pending", hits);
        ctl_print_json(answer);
    } else {
        ctl_say(stdout,
                "%s: %llu links, %llu bytes; %llu hits were still in the "
                "journal",
                file, (unsigned long long)copy.links,
                (unsigned long long)copy.bytes, (unsigned long long)hits);
    }
    buf_free(&reason);
    return ctl_status(r);
}

/* ---- Who uses the database ------------------------------------------- */

/* Another process that has one of this curt's files open, or 0; name: as in ps.
 * See proc(5): what this user may not see counts as closed. */
static long find_user(const struct conf *conf, char *name, int size)
{
    static const char *const names[] = {"curt.db",      "curt.db-wal",
                                        "curt.db-shm",  "hits",
                                        "curt.db-lock", "janitor.lock"};
    struct stat files[sizeof(names) / sizeof(names[0])], st;
    size_t count = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = mem_printf("%s/%s", conf->state_dir, names[i]);
        count += stat(path, &files[count]) == 0;
        free(path);
    }
    long found = 0;
    glob_t open_files = {.gl_pathc = 0};
    glob("/proc/[0-9]*/fd/[0-9]*", GLOB_NOSORT, NULL, &open_files);
    for (size_t i = 0; i < open_files.gl_pathc && found == 0; i++) {
        const char *path = open_files.gl_pathv[i];
        const long pid = strtol(path + strlen("/proc/"), NULL, 10);
        if (pid == (long)getpid() || stat(path, &st) < 0)
            continue;
        for (size_t f = 0; f < count && found == 0; f++)
            if (st.st_dev == files[f].st_dev && st.st_ino == files[f].st_ino)
                found = pid;
    }
    globfree(&open_files);
    char *path = mem_printf("/proc/%ld/comm", found);
    FILE *comm = fopen(path, "re");
    if (comm == NULL || fgets(name, size, comm) == NULL)
        name[0] = '\0';
    name[strcspn(name, "\n")] = '\0';
    if (comm != NULL)
        fclose(comm);
    free(path);
    return found;
}

/* ---- Restore --------------------------------------------------------- */

/* Takes the janitor's lock, which each pool holds while it runs. Returns its
 * descriptor, or -1 and *status, with the reason on standard error. */
static int lock_out_pool(const struct conf *conf, int *status)
{
    char name[64];
    int lock = lock_take(conf->state_dir, "janitor.lock", 0);
    const int error = errno;
    *status = EX_TEMPFAIL;
    const long user = find_user(conf, name, sizeof(name));
    if (user > 0) {
        ctl_say(stderr,
                "curt: restore failed: process %ld (%s) uses %s; stop "
                "curt.fcgi and every other program that uses the database, "
                "then run this again",
                user, name, conf->state_dir);
    } else if (lock < 0 && error == EWOULDBLOCK) {
        ctl_say(stderr,
                "curt: restore failed: another process holds "
                "%s/janitor.lock; stop curt.fcgi, then run this again",
                conf->state_dir);
    } else if (lock < 0) {
        struct buf reason;
        char *path = mem_printf("%s/janitor.lock", conf->state_dir);
        buf_init(&reason, REASON_MAX);
        *status = ctl_status(dirs_refused(path, error, &reason));
        ctl_say(stderr, "curt: restore failed: %s", reason.data);
        buf_free(&reason);
        free(path);
    }
    if (user > 0 && lock >= 0) {
        close(lock);
        lock = -1;
    }
    return lock;
}

/* Opens the new database, which brings its schema up to date, and moves the
 * hits of its journal to it: those of links that it does not have are dropped.
 * The journal of another store is kept, as the pool would. */
static enum result take_into_use(struct ctl *ctl, struct hits_flushed *flushed)
{
    const char *reason;
    _Atomic int64_t left = INT64_MAX;
    bool failed = false;
    *flushed = (struct hits_flushed){0};
    enum result r = store_table_create(ctl->store, NULL);
    struct hits *own =
        ctl->hits != NULL ? hits_open(&ctl->conf, &failed) : NULL;
    /* What cannot be flushed now stays in the journal, for the janitor. */
    if (r == RESULT_OK && hits_begin_flush(own, 0, 1, &reason))
        hits_flush(own, ctl->store, 0, 1, &left, flushed);
    hits_close(own);
    return r;
}

int ctl_restore(struct ctl *ctl, const char *file)
{
    if (ctl->conf.store != CONF_STORE_SQLITE)
        return refuse_dynamodb(ctl);
    dirs_make(&ctl->conf);
    int status, lock = lock_out_pool(&ctl->conf, &status);
    if (lock < 0)
        return status;
    struct sqlite_copy copy;
    struct hits_flushed flushed;
    struct buf reason;
    buf_init(&reason, REASON_MAX);
    enum result r = sqlite_restore(&ctl->conf, file, &copy, &reason);
    status = ctl_status(r);
    if (r != RESULT_OK) {
        ctl_say(stderr, "curt: restore failed: %s", reason.data);
    } else if ((r = take_into_use(ctl, &flushed)) != RESULT_OK) {
        fputs("curt: the links were restored, but the database cannot be "
              "opened\n",
              stderr);
        status = ctl_store_failed(ctl, r);
    } else if (ctl->json) {
        json_object *answer = json_object_new_object();
        ctl_add_number(answer, "links", copy.links);
        ctl_add_number(answer, "bytes", copy.bytes);
        ctl_add_number(answer, "hits", flushed.hits);
        ctl_add_number(answer, "dropped", flushed.dropped);
        ctl_print_json(answer);
    } else {
        ctl_say(stdout,
                "%llu links were restored from %s; %llu hits of the journal "
                "were added to them, %llu hits of other links were dropped",
                (unsigned long long)copy.links, file,
                (unsigned long long)flushed.hits,
                (unsigned long long)flushed.dropped);
    }
    buf_free(&reason);
    close(lock);
    return status;
}
