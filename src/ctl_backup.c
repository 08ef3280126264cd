/* curt backup and curt restore: copies of the SQLite file. See curt(1). */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl.h"
#include "dirs.h"
#include "lock.h"
#include "mem.h"
#include "sqlite_backup.h"

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

static void add_number(json_object *answer, const char *name, uint64_t n)
{
    json_object_object_add(answer, name, json_object_new_uint64(n));
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
        ctl_say(stderr, "curt: no backup was made: %s", reason.data);
    } else if (ctl->json) {
        json_object *answer = json_object_new_object();
        add_number(answer, "links", copy.links);
        add_number(answer, "bytes", copy.bytes);
        add_number(answer, "pending", hits);
        ctl_print_json(answer);
    } else {
        ctl_say(stdout,
                "%s: %llu links, %llu bytes; %llu hits were still in the "
                "journal",
                file, (unsigned long long)copy.links,
                (unsigned long long)copy.bytes, (unsigned long long)hits);
    }
    buf_free(&reason);
    return r == RESULT_OK ? 0 : ctl_status(r);
}

/* ---- Who uses the database ------------------------------------------- */

/* Whether the process has one of the files open (proc(5)). What this user may
 * not see counts as no. */
static bool has_open(const char *pid, const struct stat *files, size_t count)
{
    char *dir = mem_printf("/proc/%s/fd", pid);
    DIR *fds = opendir(dir);
    bool has = false;
    for (struct dirent *e; fds != NULL && !has && (e = readdir(fds)) != NULL;) {
        struct stat st;
        if (!isdigit((unsigned char)e->d_name[0]) ||
            fstatat(dirfd(fds), e->d_name, &st, 0) < 0)
            continue;
        for (size_t i = 0; i < count && !has; i++)
            has = st.st_dev == files[i].st_dev && st.st_ino == files[i].st_ino;
    }
    if (fds != NULL)
        closedir(fds);
    free(dir);
    return has;
}

/* Another process that uses the files of this curt, or 0; name: as in ps. */
static long find_user(const struct conf *conf, char *name, int size)
{
    static const char *const names[] = {"curt.db",      "curt.db-wal",
                                        "curt.db-shm",  "hits",
                                        "curt.db-lock", "janitor.lock"};
    struct stat files[sizeof(names) / sizeof(names[0])];
    size_t count = 0;
    long found = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = mem_printf("%s/%s", conf->state_dir, names[i]);
        count += stat(path, &files[count]) == 0;
        free(path);
    }
    DIR *proc = opendir("/proc");
    for (struct dirent *e;
         proc != NULL && found == 0 && (e = readdir(proc)) != NULL;) {
        const long pid = strtol(e->d_name, NULL, 10);
        if (pid > 0 && pid != (long)getpid() &&
            has_open(e->d_name, files, count))
            found = pid;
    }
    if (proc != NULL)
        closedir(proc);
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
 * descriptor, or -1 and *status, and standard error has said why. */
static int lock_out_pool(const struct conf *conf, int *status)
{
    char name[64];
    int lock = lock_take(conf->state_dir, "janitor.lock", 0);
    const int error = errno;
    *status = EX_TEMPFAIL;
    const long user = find_user(conf, name, sizeof(name));
    if (user > 0) {
        ctl_say(stderr,
                "curt: nothing was restored: process %ld (%s) uses %s; stop "
                "curt.fcgi and every other program that uses the database, "
                "then run this again",
                user, name, conf->state_dir);
    } else if (lock < 0 && error == EWOULDBLOCK) {
        ctl_say(stderr,
                "curt: nothing was restored: another process holds "
                "%s/janitor.lock; stop curt.fcgi, then run this again",
                conf->state_dir);
    } else if (lock < 0) {
        struct buf reason;
        char *path = mem_printf("%s/janitor.lock", conf->state_dir);
        buf_init(&reason, REASON_MAX);
        *status = ctl_status(dirs_refused(path, error, &reason));
        ctl_say(stderr, "curt: nothing was restored: %s", reason.data);
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
        ctl_say(stderr, "curt: nothing was restored: %s", reason.data);
    } else if ((r = take_into_use(ctl, &flushed)) != RESULT_OK) {
        fputs("curt: the links were restored, but the database cannot be "
              "opened\n",
              stderr);
        status = ctl_store_failed(ctl, r);
    } else if (ctl->json) {
        json_object *answer = json_object_new_object();
        add_number(answer, "links", copy.links);
        add_number(answer, "bytes", copy.bytes);
        add_number(answer, "hits", flushed.hits);
        add_number(answer, "dropped", flushed.dropped);
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
