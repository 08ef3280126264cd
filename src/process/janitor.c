#include "process/janitor.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/lock.h"
#include "service/hits.h"
#include "service/hostlist.h"
#include "store/store.h"

/* How often the lock is tried, in milliseconds. */
#define LOCK_MS 1000

/* How often the store is tended: also credentials that live for seconds are
 * renewed ahead of time. */
#define TEND_MS 1000

/* How often expired links are looked for; how many are removed in one
 * transaction, so that none is long; and the rest between two. */
#define EXPIRE_MS       5000
#define EXPIRE_AT_ONCE  100
#define EXPIRE_PAUSE_MS 50

/* How often the clock's file is written. */
#define CLOCK_SAVE_MS 60000

/* How long a worker without a master, on its end, waits for another one's
 * janitor to end, in milliseconds. */
#define LEAVE_MS      500
#define LEAVE_STEP_MS 20

/* Connections over which hits are moved to a store on the network. */
#define FLUSH_CONNECTIONS 4

#define LOCK_NAME "janitor.lock"

/* The pause after a flush that a throttled answer ended, in milliseconds: this,
 * or, where nothing at all was taken, twice the last one up to the maximum. */
#define THROTTLED_MS     1000
#define THROTTLED_MAX_MS 16000

static void stop_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGQUIT);
    sigaddset(set, SIGUSR1);
}

/* Sleeps; false when a signal ends the janitor. The signals are blocked and
 * only taken here, so none is missed and no work is interrupted. */
static bool janitor_rest(long ms)
{
    sigset_t set;
    stop_set(&set);
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    return sigtimedwait(&set, NULL, &time) < 0;
}

/* What the janitor works with, while it holds the lock. */
struct janitor {
    const struct conf *conf;
    struct hits *hits;
    struct store *stores[FLUSH_CONNECTIONS]; /* the first does all the rest */
    unsigned store_count;
    bool failing;    /* the last flush left something */
    bool no_journal; /* it could not be opened */
    struct clock_measured clock;
    int64_t clock_saved; /* clock_monotonic_ms() */
    int clock_odd;       /* the wall clock was ahead (1) or behind (-1) */
    /* A table that throttles: how many links the next flush may send (half of
     * what went through before a throttled answer, then slowly more), and the
     * pause until then. */
    int64_t allowed;
    int64_t pause_ms;
    unsigned flushes;
    struct hostlist hosts[HOSTLIST_KINDS];
};

/* What one connection flushes. */
struct flush_part {
    struct janitor *janitor;
    unsigned number;
    _Atomic int64_t *left; /* of allowed, for all parts */
    struct hits_flushed flushed;
};

static void *flush_part(void *argument)
{
    struct flush_part *part = argument;
    struct janitor *j = part->janitor;
    hits_flush(j->hits, j->stores[part->number], part->number, j->store_count,
               part->left, &part->flushed);
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
    struct flush_part parts[FLUSH_CONNECTIONS];
    pthread_t threads[FLUSH_CONNECTIONS];
    bool started[FLUSH_CONNECTIONS] = {false};
    struct hits_flushed sum = {0};
    _Atomic int64_t left = j->allowed;
    j->flushes++;
    for (unsigned i = 0; i < j->store_count; i++) {
        /* Each part begins first at times: left may be enough for one only. */
        parts[i] =
            (struct flush_part){.janitor = j,
                                .number = (i + j->flushes) % j->store_count,
                                .left = &left};
        if (i > 0)
            started[i] =
                pthread_create(&threads[i], NULL, flush_part, &parts[i]) == 0;
    }
    for (unsigned i = 0; i < j->store_count; i++) {
        if (started[i])
            pthread_join(threads[i], NULL);
        else
            flush_part(&parts[i]);
        const struct hits_flushed *flushed = &parts[i].flushed;
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

/* Logs a wrong wall clock when that changes. */
static void say_clock(struct janitor *j)
{
    const int64_t ahead = clock_now() - j->clock.time;
    const int odd = ahead > CLOCK_AHEAD ? 1 : ahead < -CLOCK_BEHIND ? -1 : 0;
    if (odd > 0 && j->clock_odd != odd)
        log_warning("the clock is ahead of the measured time by %lld s: it "
                    "jumped, or the machine was off; links are removed by the "
                    "measured time until the clock has stayed ahead for a day; "
                    "if it is wrong, set it",
                    (long long)ahead);
    if (odd < 0 && j->clock_odd != odd)
        log_warning(
            "the clock is behind the last known time by %lld s; set it; "
            "if it is right, stop curt.fcgi and remove %s/clock",
            (long long)-ahead, j->conf->state_dir);
    if (odd == 0 && j->clock_odd != odd)
        log_info("the clock agrees with the measured time again");
    j->clock_odd = odd;
}

static void save_clock(struct janitor *j)
{
    if (j->clock.time != 0 && !clock_save(j->conf->state_dir, &j->clock))
        log_warning("cannot write %s/clock: %s", j->conf->state_dir,
                    strerror(errno));
    j->clock_saved = clock_monotonic_ms();
}

/* The time by which links are removed (clock.h). */
static enum result read_clock(struct janitor *j, int64_t *now)
{
    enum result r = RESULT_OK;
    if (j->clock.time == 0 && !clock_load(j->conf->state_dir, &j->clock))
        r = store_newest(j->stores[0], &j->clock.time);
    if (r != RESULT_OK && r != RESULT_NOT_FOUND)
        return r;
    const int64_t wall = clock_now();
    clock_measure(&j->clock);
    say_clock(j);
    if (clock_monotonic_ms() - j->clock_saved >= CLOCK_SAVE_MS)
        save_clock(j);
    *now = wall < j->clock.time ? wall : j->clock.time;
    return RESULT_OK;
}

/* Removes what has expired, in small steps. False: a signal ended it. */
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
            log_warning("removing expired links failed: %s: %s", result_text(r),
                        store_error(store));
            return true;
        }
        sum += removed;
        if (!janitor_rest(EXPIRE_PAUSE_MS))
            return false;
    } while (removed == EXPIRE_AT_ONCE);
    if (sum > 0)
        log_info("expired links removed: %u", sum);
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
    hostlist_close_all(j->hosts);
}

/* Works until it is told to end, or has lost the lock: false. Then another
 * janitor may be at work. */
static bool janitor_work(const struct conf *conf, int lock)
{
    struct janitor j;
    begin_work(&j, conf);
    const uint64_t others = hits_of_other_stores(conf);
    if (others > 0)
        log_warning("%llu hits wait for another table in %s/hits.*; they are "
                    "flushed when STORE, TABLE, region and endpoint are set "
                    "back to it",
                    (unsigned long long)others, conf->state_dir);
    int64_t next_flush = 0, next_expire = 0, next_tend = 0;
    /* One that was told to end before it began has its last flush only. */
    bool going = janitor_rest(0), locked;
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
        if (now >= next_tend) {
            store_tend(j.stores[0]);
            hostlist_tend(j.hosts, conf);
            next_tend = now + TEND_MS;
        }
        if (now >= next_expire) {
            going = expire_links(&j);
            next_expire = now + EXPIRE_MS;
        }
        const int64_t left = next_tend - clock_monotonic_ms();
        going = going && janitor_rest(left > 0 ? (long)left : 0);
    }
    if (locked)
        flush_hits(&j);
    else
        log_warning("%s/" LOCK_NAME " was removed; remove it only while curt "
                    "is stopped",
                    conf->state_dir);
    end_work(&j);
    return locked || !going;
}

/* Flushes the last hits, unless another janitor does. */
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

void janitor_block_signals(void)
{
    sigset_t set;
    stop_set(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGHUP, SIG_IGN);
}

int janitor_run(const struct conf *conf, bool patient)
{
    janitor_block_signals();
    log_open("janitor");
    bool said = false, done = false;
    while (!done) {
        int lock = lock_take(conf->state_dir, LOCK_NAME, 0);
        if (lock >= 0) {
            done = janitor_work(conf, lock);
            close(lock);
        } else if (!patient) {
            done = true;
        } else {
            if (!said && errno != EWOULDBLOCK)
                log_warning("cannot lock %s/" LOCK_NAME
                            ": %s; hits are not flushed and nothing is cleaned "
                            "up until this is fixed",
                            conf->state_dir, strerror(errno));
            said = said || errno != EWOULDBLOCK;
            if (!janitor_rest(LOCK_MS)) {
                /* The holder of the lock may have ended by now, and before the
                 * last hit. */
                work_last(conf, lock_take(conf->state_dir, LOCK_NAME, 0));
                done = true;
            }
        }
    }
    return 0;
}

/* Starts the same program as a janitor; 0 or an error number. It reads the
 * configuration from memory: the active one, because the file may have changed
 * since or be broken; and not from the environment, which a credential_process
 * inherits. */
static int start_janitor(const struct conf *conf, pid_t *pid)
{
    char worker[24];
    const char *const argv[] = {"curt.fcgi",       "-j", worker, "-c",
                                "/proc/self/fd/3", NULL};
    int fds[] = {CHILD_NULL, STDOUT_FILENO, STDERR_FILENO,
                 memfd_create("curt.conf", MFD_CLOEXEC)};
    _Static_assert(JANITOR_CONF == 3, "the file's name and its place in fds");
    if (fds[JANITOR_CONF] < 0)
        return errno;
    struct buf text;
    buf_init(&text, CONF_TEXT_MAX);
    conf_write(conf, &text);
    int fault = ENOMEM;
    snprintf(worker, sizeof(worker), "%ld", (long)getpid());
    if (write(fds[JANITOR_CONF], text.data, text.len) == (ssize_t)text.len)
        fault =
            child_start("/proc/self/exe", argv, environ, fds, 4, false, pid);
    close(fds[JANITOR_CONF]);
    buf_wipe(&text);
    return fault;
}

/* Whether the janitor that this worker started is still running. Its process
 * id is not used again before it has been waited for. */
static bool janitor_lives(struct janitor_watch *watch)
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
    if (janitor_lives(watch))
        return;
    int lock = lock_take(conf->state_dir, LOCK_NAME, 0);
    if (lock < 0)
        return;
    close(lock); /* free: the new process takes it */
    int fault = start_janitor(conf, &watch->janitor);
    if (fault != 0)
        log_warning("cannot start the janitor: %s", strerror(fault));
}

void janitor_leave(struct janitor_watch *watch, const struct conf *conf)
{
    uint64_t hits, links;
    struct hits *h;
    const char *reason;
    /* Its own janitor ends after it, and flushes them. */
    if (janitor_lives(watch) ||
        hits_open_existing(conf, &h, &reason) != RESULT_OK)
        return;
    for (int waited = 0; waited <= LEAVE_MS; waited += LEAVE_STEP_MS) {
        hits_pending_all(h, &hits, &links);
        int lock = hits > 0 ? lock_take(conf->state_dir, LOCK_NAME, 0) : -1;
        if (hits == 0 || lock >= 0) {
            work_last(conf, lock);
            break;
        }
        clock_pause_ms(LEAVE_STEP_MS);
    }
    hits_close(h);
}

void janitor_renew(struct janitor_watch *watch)
{
    if (janitor_lives(watch))
        kill(watch->janitor, SIGUSR1);
    watch->next_ms = 0;
}
