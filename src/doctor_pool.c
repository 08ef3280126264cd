#include "doctor_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "hits.h"
#include "mem.h"

/* How long a worker without a master may take to start a janitor. */
#define JANITOR_MS 3000

/* How often something is looked at again. */
#define POLL_MS 50

/* The longest HITS_FLUSH that is waited for, in seconds, and what a flush may
 * take beyond it, in milliseconds. */
#define FLUSH_MAX    10
#define FLUSH_MARGIN 2000

#define MIB (1024 * 1024)

/* What the file of the cache may have beside CACHE_SIZE, in bytes. */
#define CACHE_SLACK (2 * MIB)

static void wait_shortly(void)
{
    const struct timespec pause = {0, POLL_MS * 1000000};
    nanosleep(&pause, NULL);
}

/* ---- Who runs curt.fcgi ---------------------------------------------- */

/* The process that holds a lock on the file, or 0 (proc(5), "locks"). */
static pid_t find_holder(const struct stat *st)
{
    char line[256];
    long pid = 0;
    FILE *locks = fopen("/proc/locks", "re");
    while (locks != NULL && fgets(line, sizeof(line), locks) != NULL) {
        long found;
        unsigned high, low;
        unsigned long inode;
        if (sscanf(line, "%*s FLOCK %*s WRITE %ld %x:%x:%lu", &found, &high,
                   &low, &inode) == 4 &&
            inode == st->st_ino && makedev(high, low) == st->st_dev)
            pid = found;
    }
    if (locks != NULL)
        fclose(locks);
    return pid > 0 ? (pid_t)pid : 0;
}

/* Whether a janitor holds its lock, which is exclusive; the one tried here is
 * shared, so two doctors do not mistake each other for it. *hidden: it cannot
 * be seen. */
static bool is_held(const struct conf *conf, struct stat *st, bool *hidden)
{
    char *path = mem_printf("%s/janitor.lock", conf->state_dir);
    /* Without waiting for a writer, if it is a FIFO. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    free(path);
    *hidden = fd < 0 && errno == EACCES;
    bool held = false;
    if (fd >= 0 && fstat(fd, st) == 0)
        held = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    if (fd >= 0)
        close(fd);
    return held;
}

void doctor_find_pool(struct doctor *d)
{
    struct stat st;
    char proc[32];
    d->running = is_held(d->conf, &st, &d->hidden);
    d->holder = d->running ? find_holder(&st) : 0;
    /* The directory of a process belongs to its effective user. */
    snprintf(proc, sizeof(proc), "/proc/%ld", (long)d->holder);
    d->user_known = (d->holder > 0 && stat(proc, &st) == 0) ||
                    stat(d->conf->state_dir, &st) == 0;
    if (d->user_known)
        d->user = st.st_uid;
}

void doctor_check_pool(struct doctor *d)
{
    /* A request may have started a worker, and that starts a janitor. */
    const bool woken = !d->running && doctor_wake_pool(d);
    const int64_t end = clock_monotonic_ms() + (woken ? JANITOR_MS : 0);
    while (!d->running && clock_monotonic_ms() < end) {
        wait_shortly();
        doctor_find_pool(d);
    }
    if (d->hidden) {
        report_add(d->report, REPORT_WARN, "pool", "run curt doctor as root",
                   "%s/janitor.lock: %s: whether curt.fcgi runs is not known",
                   d->conf->state_dir, strerror(EACCES));
        return;
    }
    if (!d->running) {
        report_add(d->report, REPORT_FAIL, "pool",
                   "start it: spawn-fcgi -s SOCKET -M 0660 -u curt -U www-data "
                   "-b 1024 -P /run/curt.pid -- curt.fcgi; if it does not "
                   "start, its log says why",
                   "curt.fcgi is not running, or with another STATE_DIR: no "
                   "process holds %s/janitor.lock",
                   d->conf->state_dir);
        return;
    }
    char *user = doctor_user_name(d->user);
    if (d->holder > 0)
        report_add(d->report, REPORT_OK, "pool", NULL,
                   "curt.fcgi runs as %s; its janitor is process %ld", user,
                   (long)d->holder);
    else
        report_add(d->report, REPORT_OK, "pool", NULL, "curt.fcgi runs");
    if (d->user_known && d->user == 0)
        report_add(d->report, REPORT_WARN, "pool",
                   "create a user for it, give that user STATE_DIR and "
                   "RUNTIME_DIR, and start it with spawn-fcgi -u",
                   "curt.fcgi runs as root, which it does not need");
    free(user);
}

/* ---- The cache ------------------------------------------------------- */

/* By the size of the file and the room beside it: a CACHE_SIZE for which there
 * is no room may have been cut to what there was. */
void doctor_check_cache(struct doctor *d)
{
    const struct conf *conf = d->conf;
    struct stat st = {.st_size = 0};
    struct statvfs space;
    if (!d->running || conf->cache_size == 0 || conf->cache_ttl == 0)
        return;
    char *path = mem_printf("%s/cache", conf->runtime_dir);
    const bool there = stat(path, &st) == 0;
    const uint64_t size = (uint64_t)st.st_size;
    const bool room = statvfs(conf->runtime_dir, &space) == 0 &&
                      (uint64_t)space.f_bavail * space.f_frsize >
                          conf->cache_size + CACHE_SLACK;
    if (there && size <= conf->cache_size + CACHE_SLACK &&
        (size >= conf->cache_size || !room))
        report_add(d->report, REPORT_OK, "cache", NULL, "%s: %llu MiB", path,
                   (unsigned long long)size / MIB);
    else if (there || room)
        report_add(d->report, REPORT_WARN, "cache",
                   there ? "stop the pool, remove that file, start the pool"
                         : "restart the pool; if it stays away, check that "
                           "curt.fcgi can write RUNTIME_DIR",
                   "%s: %llu KiB, but CACHE_SIZE is %llu KiB", path,
                   (unsigned long long)size / 1024,
                   (unsigned long long)conf->cache_size / 1024);
    else
        report_add(d->report, REPORT_WARN, "cache",
                   "lower CACHE_SIZE, or make room on the file system of "
                   "RUNTIME_DIR; then restart the pool",
                   "%s: missing, and CACHE_SIZE, %llu KiB, does not fit", path,
                   (unsigned long long)conf->cache_size / 1024);
    free(path);
}

/* ---- The journal ----------------------------------------------------- */

/* What is pending, without the visit that doctor_check_site() made. */
static uint64_t count_pending(const struct doctor *d, const struct hits *h,
                              uint64_t *links)
{
    uint64_t all;
    const uint64_t own = hits_pending(h, d->probe.id);
    hits_pending_all(h, &all, links);
    *links -= own > 0 && *links > 0;
    return all > own ? all - own : 0;
}

/* Whether the janitor takes something out of the journal while we look. With
 * visitors on the site the number only falls when it does. */
static bool is_moving(const struct doctor *d, const struct hits *h,
                      uint64_t *hits, uint64_t *links)
{
    const int64_t end = clock_monotonic_ms() +
                        (int64_t)d->conf->hits_flush * 1000 + FLUSH_MARGIN;
    uint64_t before;
    do {
        before = *hits;
        wait_shortly();
        *hits = count_pending(d, h, links);
    } while (*hits >= before && *hits > 0 && clock_monotonic_ms() < end);
    return *hits < before || *hits == 0;
}

static void check_pending(struct doctor *d, const struct hits *h)
{
    uint64_t links;
    uint64_t hits = count_pending(d, h, &links);
    const bool known = d->running && d->conf->hits_flush <= FLUSH_MAX;
    const bool moving = hits == 0 || (known && is_moving(d, h, &hits, &links));
    if (moving || (d->running && !known))
        report_add(d->report, REPORT_OK, "hits", NULL,
                   "%llu hits are on their way to the store, which gets them "
                   "every %u s",
                   (unsigned long long)hits, (unsigned)d->conf->hits_flush);
    else
        report_add(d->report, REPORT_WARN, "hits",
                   d->running ? "they do not get to the store: the janitor's "
                                "lines in the log say why"
                              : "start the pool; none of them is lost",
                   "%llu hits of %llu links wait in the journal",
                   (unsigned long long)hits, (unsigned long long)links);
}

void doctor_check_hits(struct doctor *d)
{
    struct hits *h;
    const char *reason = "";
    enum result r = hits_open_existing(d->conf, &h, &reason);
    if (r == RESULT_OK)
        check_pending(d, h);
    else if (r != RESULT_NOT_FOUND)
        report_add(d->report, REPORT_WARN, "hits",
                   d->root >= 0 ? "first fix what the lines above say about "
                                  "STATE_DIR"
                                : "run curt doctor as root or as the user that "
                                  "runs curt.fcgi",
                   "%s/hits: %s", d->conf->state_dir, reason);
    else if (d->running)
        report_add(d->report, REPORT_WARN, "hits",
                   "check that curt.fcgi can write STATE_DIR and has 32 MiB "
                   "of room there, then restart the pool",
                   "%s/hits: missing, so each hit is written to the store "
                   "individually",
                   d->conf->state_dir);
    hits_close(h);
}
