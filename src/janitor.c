#include "janitor.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "clock.h"
#include "hits.h"
#include "lock.h"
#include "mapfile.h"
#include "store.h"
#include "wallclock.h"

/* How often the lock is tried, in milliseconds. */
#define LOCK_MS 1000

/* How often the store is tended: keys that live for seconds are renewed ahead
 * of time, too. */
#define TEND_MS 1000

/* How often expired links are looked for; how many are removed in one
 * transaction, so that none is long; and the rest between two. */
#define EXPIRE_MS       5000
#define EXPIRE_AT_ONCE  100
#define EXPIRE_PAUSE_MS 50

/* How often the clock's file is written. */
#define CLOCK_SAVE_MS 60000

/* How long a worker without a master, on its end, waits for another one's
 * janitor to be gone, in milliseconds. */
#define LEAVE_MS      500
#define LEAVE_STEP_MS 20

/* Connections over which hits are moved to a store on the network. */
#define FLUSH_CONNECTIONS 4

#define LOCK_NAME "janitor.lock"

/* The pause after a flush that a throttled answer ended, in milliseconds: this,
 * or, where nothing at all was taken, twice the last one up to the maximum. */
#define THROTTLED_MS     1000
#define THROTTLED_MAX_MS 16000

/* Takes the lock. Returns its descriptor, or -1 with errno EWOULDBLOCK when
 * another process has it. */
static int try_lock(const struct conf *conf)
{
    return lock_take(conf->state_dir, LOCK_NAME, 0);
}

static void stop_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGQUIT);
    sigaddset(set, SIGUSR1);
}

/* Sleeps; false when a signal asks for the end. The signals are blocked and
 * only taken here, so none is missed and no work is interrupted. */
static bool janitor_rest(long ms)
{
    sigset_t set;
    stop_set(&set);
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    return sigtimedwait(&set, NULL, &time) < 0;
}

/* Sleeps until a moment of clock_monotonic_ms(), likewise. */
static bool rest_until(int64_t moment)
{
    const int64_t ms = moment - clock_monotonic_ms();
    return janitor_rest(ms > 0 ? (long)ms : 0);
}

/* What the janitor works with, while it holds the lock. */
struct janitor {
    const struct conf *conf;
    struct hits *hits;
    struct store *stores[FLUSH_CONNECTIONS]; /* the first does all the rest */
    unsigned store_count;
    bool failing;    /* the last flush left something */
    bool no_journal; /* it could not be opened */
    struct wallclock clock;
    int64_t clock_saved; /* clock_monotonic_ms() */
    int clock_odd;       /* the wall clock was ahead (1) or behind (-1) */
    /* A table that throttles: how many links the next flush may send (half of
     * what went through before a throttled answer, then slowly more), and the
     * pause until then. */
    int64_t allowed;
    int64_t pause_ms;
    unsigned flushes;
};

/* One connection's share of a flush. */
struct share {
    struct janitor *janitor;
    unsigned part;
    _Atomic int64_t *left; /* of allowed, for all shares */
    struct hits_flushed flushed;
};

static void *flush_share(void *argument)
{
    struct share *share = argument;
    struct janitor *j = share->janitor;
    hits_flush(j->hits, j->stores[share->part], share->part, j->store_count,
               share->left, &share->flushed);
    return NULL;
}

static void say_flushed(struct janitor *j, const struct hits_flushed *sum,
                        bool more)
{
    if (sum->links > 0)
        log_debug("flushed %llu hits of %llu links",
                  (unsigned long long)sum->hits,
                  (unsigned long long)sum->links);
    if (sum->dropped > 0)
        log_info("dropped %llu hits of deleted links",
                 (unsigned long long)sum->dropped);
    if (sum->failed > 0 && !j->failing)
        log_warning("flushing hits failed, will retry: %s", sum->error);
    if (sum->failed == 0 && !more && j->failing)
        log_info("flushing hits works again");
    j->failing = sum->failed > 0 || (j->failing && more);
}

/* Creates go first: a flush ends at the first throttled answer. Then flushes
 * are small and frequent, so that hits get what the creates leave, and a little
 * in any case. more: the flush was not allowed to send everything. */
static void set_pace(struct janitor *j, const struct hits_flushed *sum,
                     bool more)
{
    if (sum->throttled && sum->links == 0)
        j->pause_ms = j->pause_ms * 2 < THROTTLED_MAX_MS ? j->pause_ms * 2
                                                         : THROTTLED_MAX_MS;
    else
        j->pause_ms = more ? THROTTLED_MS : (int64_t)j->conf->hits_flush * 1000;
    if (sum->throttled)
        j->allowed = sum->links > 2 ? (int64_t)sum->links / 2 : 1;
    else if (j->allowed < INT64_MAX / 2)
        j->allowed += j->allowed / 2 + 1;
}

/* Moves the pending hits to the store, over all connections at once. */
static void flush_hits(struct janitor *j)
{
    const char *reason;
    if (!hits_begin_flush(j->hits, 0, 1, &reason)) {
        if (reason != NULL && !j->failing)
            log_warning("flushing hits failed, will retry: %s/hits: %s",
                        j->conf->state_dir, reason);
        j->failing = j->failing || reason != NULL;
        return;
    }
    struct share shares[FLUSH_CONNECTIONS];
    pthread_t threads[FLUSH_CONNECTIONS];
    bool started[FLUSH_CONNECTIONS] = {false};
    struct hits_flushed sum = {0};
    _Atomic int64_t left = j->allowed;
    j->flushes++;
    for (unsigned i = 0; i < j->store_count; i++) {
        /* Each part begins first at times: left may be enough for one only. */
        shares[i] = (struct share){.janitor = j,
                                   .part = (i + j->flushes) % j->store_count,
                                   .left = &left};
        if (i > 0)
            started[i] =
                pthread_create(&threads[i], NULL, flush_share, &shares[i]) == 0;
    }
    for (unsigned i = 0; i < j->store_count; i++) {
        if (started[i])
            pthread_join(threads[i], NULL);
        else
            flush_share(&shares[i]);
        const struct hits_flushed *flushed = &shares[i].flushed;
        if (sum.failed == 0)
            memcpy(sum.error, flushed->error, sizeof(sum.error));
        sum.hits += flushed->hits;
        sum.links += flushed->links;
        sum.dropped += flushed->dropped;
        sum.failed += flushed->failed;
        sum.throttled = sum.throttled || flushed->throttled;
    }
    const bool more = sum.throttled || left < 0;
    say_flushed(j, &sum, more);
    set_pace(j, &sum, more);
}

/* Says what is wrong with the wall clock when that changes. */
static void say_clock(struct janitor *j)
{
    const int64_t ahead = clock_now() - j->clock.time;
    const int odd = ahead > WALLCLOCK_AHEAD     ? 1
                    : ahead < -WALLCLOCK_BEHIND ? -1
                                                : 0;
    if (odd > 0 && j->clock_odd != odd)
        log_warning("the clock is %lld s ahead of the time that curt has "
                    "measured: it jumped, or this machine was off; until it "
                    "has kept this for a day, links are removed by the "
                    "measured time; if it is wrong, set it",
                    (long long)ahead);
    if (odd < 0 && j->clock_odd != odd)
        log_warning("the clock is %lld s behind the latest time that curt has "
                    "seen; set it; if it is right, stop curt.fcgi and remove "
                    "%s/clock",
                    (long long)-ahead, j->conf->state_dir);
    if (odd == 0 && j->clock_odd != odd)
        log_info("the clock agrees with the measured time again");
    j->clock_odd = odd;
}

static void save_clock(struct janitor *j)
{
    if (j->clock.time != 0 && !wallclock_save(j->conf->state_dir, &j->clock))
        log_warning("%s/clock: %s", j->conf->state_dir, strerror(errno));
    j->clock_saved = clock_monotonic_ms();
}

/* The time by which links are removed (wallclock.h). */
static enum result read_clock(struct janitor *j, int64_t *now)
{
    enum result r = RESULT_OK;
    if (j->clock.time == 0 && !wallclock_load(j->conf->state_dir, &j->clock)) {
        r = store_newest(j->stores[0], &j->clock.time);
        j->clock.boot = mapfile_boot();
        j->clock.uptime = clock_uptime();
    }
    if (r != RESULT_OK && r != RESULT_NOT_FOUND)
        return r;
    const int64_t wall = clock_now();
    wallclock_now(&j->clock);
    say_clock(j);
    if (clock_monotonic_ms() - j->clock_saved >= CLOCK_SAVE_MS)
        save_clock(j);
    *now = wall < j->clock.time ? wall : j->clock.time;
    return RESULT_OK;
}

/* Removes what has expired, in small steps. False when asked to end. */
static bool expire_links(struct janitor *j)
{
    struct store *store = j->stores[0];
    unsigned removed = 0, sum = 0;
    if (j->conf->store != CONF_STORE_SQLITE)
        return true; /* DynamoDB removes them, by its own clock */
    do {
        int64_t now = 0;
        enum result r = read_clock(j, &now);
        if (r == RESULT_OK)
            r = store_expire(store, now, EXPIRE_AT_ONCE, &removed);
        if (r != RESULT_OK) {
            log_warning("expired links were not removed (%s): %s",
                        result_text(r), store_error(store));
            return true;
        }
        sum += removed;
        if (!janitor_rest(EXPIRE_PAUSE_MS))
            return false;
    } while (removed == EXPIRE_AT_ONCE);
    if (sum > 0)
        log_info("%u expired links removed", sum);
    return true;
}

static void begin_work(struct janitor *j, const struct conf *conf)
{
    *j = (struct janitor){.conf = conf,
                          .clock_saved = INT64_MIN / 2,
                          .allowed = INT64_MAX,
                          .pause_ms = THROTTLED_MS};
    j->hits = hits_open(conf, &j->no_journal);
    /* SQLite writes one at a time anyway. */
    j->store_count = conf->store == CONF_STORE_SQLITE ? 1 : FLUSH_CONNECTIONS;
    for (unsigned i = 0; i < j->store_count; i++)
        j->stores[i] = store_new_pooled(conf);
}

/* Gives all back. */
static void end_work(struct janitor *j)
{
    save_clock(j);
    for (unsigned i = 0; i < j->store_count; i++)
        store_free(j->stores[i]);
    hits_close(j->hits);
}

static void log_other_hits(const struct conf *conf)
{
    const uint64_t hits = hits_of_other_stores(conf);
    if (hits > 0)
        log_warning("%llu hits wait for another table in %s/hits.*; they are "
                    "flushed when STORE, TABLE, region and endpoint are set "
                    "back to it",
                    (unsigned long long)hits, conf->state_dir);
}

/* Whether it is time for what is done every so many milliseconds; then next
 * is when it is the next time. */
static bool is_time(int64_t *next, int64_t every_ms, int64_t now)
{
    if (now < *next)
        return false;
    *next = now + every_ms;
    return true;
}

/* Works until it is told to end, or has lost the lock: false. Then another
 * janitor may be at work. */
static bool janitor_work(const struct conf *conf, int lock)
{
    struct janitor j;
    begin_work(&j, conf);
    log_other_hits(conf);
    int64_t next_flush = 0, next_expire = 0, next_tend = 0;
    bool going = true, locked;
    while ((locked = lock_is_valid(lock, conf->state_dir, LOCK_NAME)) &&
           going) {
        const int64_t now = clock_monotonic_ms();
        /* The workers have a journal as soon as one can be created. */
        if (j.hits == NULL)
            j.hits = hits_open(conf, &j.no_journal);
        if (now >= next_flush) {
            flush_hits(&j);
            next_flush = now + j.pause_ms;
        }
        if (is_time(&next_tend, TEND_MS, now))
            store_tend(j.stores[0]);
        if (is_time(&next_expire, EXPIRE_MS, now))
            going = expire_links(&j);
        going = going && rest_until(next_tend);
    }
    if (locked)
        flush_hits(&j);
    else
        log_warning("%s/" LOCK_NAME " was removed; do that only while curt is "
                    "stopped",
                    conf->state_dir);
    end_work(&j);
    return locked || !going;
}

/* Moves the last hits, if no other janitor does. */
static void work_last(const struct conf *conf, int lock)
{
    struct janitor j;
    if (lock < 0)
        return;
    begin_work(&j, conf);
    flush_hits(&j);
    end_work(&j);
    close(lock);
}

static void say_no_lock(const struct conf *conf, bool *said)
{
    if (*said || errno == EWOULDBLOCK)
        return;
    *said = true;
    log_warning("%s/" LOCK_NAME ": %s; cannot lock; hits are not flushed and "
                "nothing is cleaned up until this is fixed",
                conf->state_dir, strerror(errno));
}

int janitor_run(const struct conf *conf, bool patient)
{
    sigset_t set;
    stop_set(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGHUP, SIG_IGN);
    log_open("janitor");
    bool said = false, done = false;
    while (!done) {
        int lock = try_lock(conf);
        if (lock >= 0) {
            done = janitor_work(conf, lock);
            close(lock);
        } else if (!patient) {
            done = true;
        } else {
            say_no_lock(conf, &said);
            if (!janitor_rest(LOCK_MS)) {
                /* The one that had the lock may be gone by now, and have gone
                 * before the last hit. */
                work_last(conf, try_lock(conf));
                done = true;
            }
        }
    }
    return 0;
}

/* The configuration in memory, as the janitor reads it on JANITOR_CONF: the
 * active one, because the file may have changed since or be broken; and not in
 * the environment, which a credential_process inherits. Returns the descriptor,
 * or -1. */
static int make_conf_file(const struct conf *conf)
{
    struct buf text;
    buf_init(&text, CONF_TEXT_MAX);
    conf_write(conf, &text);
    int fd = memfd_create("curt.conf", MFD_CLOEXEC);
    if (fd >= 0 && write(fd, text.data, text.len) != (ssize_t)text.len) {
        close(fd);
        errno = ENOMEM;
        fd = -1;
    }
    buf_wipe(&text);
    return fd;
}

/* Starts the same program as a janitor; 0 or an error number. */
static int start_janitor(const struct conf *conf, pid_t *pid)
{
    char worker[24];
    const char *const argv[] = {"curt.fcgi",       "-j", worker, "-c",
                                "/proc/self/fd/3", NULL};
    int fds[] = {CHILD_NULL, STDOUT_FILENO, STDERR_FILENO,
                 make_conf_file(conf)};
    _Static_assert(JANITOR_CONF == 3, "the file's name and its place in fds");
    if (fds[JANITOR_CONF] < 0)
        return errno;
    snprintf(worker, sizeof(worker), "%ld", (long)getpid());
    int fault =
        child_start("/proc/self/exe", argv, environ, fds, 4, false, pid);
    close(fds[JANITOR_CONF]);
    return fault;
}

bool janitor_follow(pid_t worker)
{
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    return getppid() == worker;
}

/* Whether the janitor that this worker started is still there. Until it has
 * been waited for, its process id is nobody else's. */
static bool is_alive(struct janitor_watch *watch)
{
    if (watch->janitor > 0 && waitpid(watch->janitor, NULL, WNOHANG) != 0)
        watch->janitor = 0;
    return watch->janitor > 0;
}

void janitor_watch(struct janitor_watch *watch, const struct conf *conf)
{
    int64_t now = clock_monotonic_ms();
    if (now < watch->next_ms)
        return;
    watch->next_ms = now + LOCK_MS;
    if (is_alive(watch))
        return;
    int lock = try_lock(conf);
    if (lock < 0)
        return;
    close(lock); /* free: the new process takes it */
    int fault = start_janitor(conf, &watch->janitor);
    if (fault != 0)
        log_warning("the janitor cannot be started: %s", strerror(fault));
}

void janitor_leave(struct janitor_watch *watch, const struct conf *conf)
{
    uint64_t hits, links;
    struct hits *h;
    const char *reason;
    /* Its own one ends after it, and moves them. */
    if (is_alive(watch) || hits_open_existing(conf, &h, &reason) != RESULT_OK)
        return;
    const struct timespec pause = {0, LEAVE_STEP_MS * 1000000};
    for (int waited = 0; waited <= LEAVE_MS; waited += LEAVE_STEP_MS) {
        hits_pending_all(h, &hits, &links);
        int lock = hits > 0 ? try_lock(conf) : -1;
        if (hits == 0 || lock >= 0) {
            work_last(conf, lock);
            break;
        }
        nanosleep(&pause, NULL);
    }
    hits_close(h);
}

void janitor_renew(struct janitor_watch *watch)
{
    if (is_alive(watch))
        kill(watch->janitor, SIGUSR1);
    watch->next_ms = 0;
}
