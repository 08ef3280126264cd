#include "process/master.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/mem.h"
#include "process/notify.h"

/* Back-off of a child that keeps dying before it has answered anything, in
 * milliseconds: one that lived for less than SHORT_LIFE waits for FIRST_DELAY,
 * doubling up to LAST_DELAY; one that answered a request, or lived for HEALTHY,
 * is replaced at once. */
#define SHORT_LIFE  1000
#define HEALTHY     10000
#define FIRST_DELAY 100
#define LAST_DELAY  10000

/* Pause between two children that a reload replaces, in milliseconds. */
#define RELOAD_STEP 20

/* How often the master looks whether a worker serves, in milliseconds, while
 * the service manager waits for one. */
#define READY_STEP 20

/* Added to DRAIN_TIMEOUT where the service manager is told how long a stop may
 * take, in milliseconds. */
#define STOP_MARGIN 5000

/* The least time that the janitor has for its last flush, in milliseconds. What
 * it leaves stays in the journal. */
#define JANITOR_GRACE 500

/* Always has a child, or waits for its next one. */
struct child_slot {
    int (*role)(const struct conf *conf, struct master_child *shared);
    const char *name;
    struct master_child *shared;
    pid_t pid;       /* 0: none */
    int64_t started; /* these three in milliseconds */
    int64_t due;
    int64_t delay;
    bool outdated; /* a reload has still to replace the child */
};

/* A child that was told to finish and has been replaced, or will not be. */
struct leaver {
    pid_t pid;
    int64_t kill_at;
};

struct master {
    struct conf *conf;
    const char *conf_file;
    struct child_slot *slots; /* of the workers, the last one of the janitor */
    size_t slot_count;
    struct leaver *leavers;
    size_t leaver_count;
    int64_t next_step; /* of a reload; 0: none is under way */
    bool stopping;
    int64_t stop_by; /* when the workers are killed; 0: at once */
    struct notify notify;
    int64_t next_report; /* to the service manager; INT64_MAX: none */
    bool ready;          /* as reported */
    bool reload_failed;
    sigset_t signals; /* the ones it waits for: blocked all the time */
};

/* The child has the master's signals blocked at first: a janitor that is told
 * to finish before it began flushes nevertheless. */
static void start_child(struct master *m, struct child_slot *slot, int64_t now)
{
    pid_t master = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        /* USR1, because TERM counts. */
        child_end_with(master, SIGUSR1);
        exit(slot->role(m->conf, slot->shared));
    }
    slot->outdated = false;
    slot->started = now;
    if (pid > 0) {
        slot->pid = pid;
        return;
    }
    log_error("fork failed: %s: %s", slot->name, strerror(errno));
    slot->delay = FIRST_DELAY * 10;
    slot->due = now + slot->delay;
}

static void start_due(struct master *m, int64_t now)
{
    for (size_t i = 0; i < m->slot_count && !m->stopping; i++)
        if (m->slots[i].pid == 0 && m->slots[i].due <= now)
            start_child(m, &m->slots[i], now);
}

/* Tells a child to finish; it is killed if it does not in time. */
static void stop_child(struct master *m, pid_t pid, int64_t kill_at)
{
    size_t count = m->leaver_count + 1;
    m->leavers = mem_resize(m->leavers, count * sizeof(*m->leavers));
    m->leavers[m->leaver_count] = (struct leaver){pid, kill_at};
    m->leaver_count = count;
    kill(pid, SIGUSR1);
}

/* How long a dead child's slot waits for its successor. */
static int64_t next_delay(int64_t delay, int64_t lived, bool answered)
{
    if (answered || lived >= HEALTHY)
        return 0;
    if (lived >= SHORT_LIFE)
        return delay;
    if (delay == 0)
        return FIRST_DELAY;
    return 2 * delay < LAST_DELAY ? 2 * delay : LAST_DELAY;
}

static bool reap_leaver(struct master *m, pid_t pid)
{
    for (size_t i = 0; i < m->leaver_count; i++) {
        if (m->leavers[i].pid == pid) {
            m->leavers[i] = m->leavers[--m->leaver_count];
            return true;
        }
    }
    return false;
}

static void reap_children(struct master *m, int64_t now)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (reap_leaver(m, pid))
            continue;
        for (size_t i = 0; i < m->slot_count; i++) {
            struct child_slot *slot = &m->slots[i];
            if (slot->pid != pid)
                continue;
            slot->pid = 0;
            slot->delay = next_delay(slot->delay, now - slot->started,
                                     slot->shared->answered == pid);
            slot->due = now + slot->delay;
            if (WIFSIGNALED(status))
                log_error("%s killed by signal: pid %ld, signal %d (%s)",
                          slot->name, (long)pid, WTERMSIG(status),
                          strsignal(WTERMSIG(status)));
            else
                log_warning("%s exited: pid %ld, status %d", slot->name,
                            (long)pid, WEXITSTATUS(status));
        }
    }
}

static void master_reload(struct master *m, int64_t now)
{
    struct conf old;
    notify_send(&m->notify,
                "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=reloading",
                clock_monotonic_ms() * 1000);
    m->ready = false;
    m->next_report = m->notify.size > 0 ? now : INT64_MAX;
    m->reload_failed = !conf_reload(m->conf_file, m->conf, &old);
    if (m->reload_failed)
        return;
    conf_free(&old);
    for (size_t i = 0; i < m->slot_count; i++)
        m->slots[i].outdated = m->slots[i].pid > 0;
    m->next_step = now;
}

/* Replaces the next child that still has the old configuration. */
static void step_reload(struct master *m, int64_t now)
{
    if (m->next_step == 0 || now < m->next_step || m->stopping)
        return;
    m->next_step = 0;
    for (size_t i = 0; i < m->slot_count; i++) {
        struct child_slot *slot = &m->slots[i];
        if (!slot->outdated)
            continue;
        pid_t old = slot->pid;
        slot->pid = 0;
        start_child(m, slot, now);
        if (old > 0)
            stop_child(m, old, now + (int64_t)m->conf->drain_timeout * 1000);
        m->next_step = now + RELOAD_STEP;
        return;
    }
}

/* Stops the children of the slots from first to before end. */
static void stop_slots(struct master *m, size_t first, size_t end,
                       int64_t kill_at)
{
    for (size_t i = first; i < end; i++) {
        if (m->slots[i].pid > 0)
            stop_child(m, m->slots[i].pid, kill_at);
        m->slots[i].pid = 0;
    }
}

static void stop_workers(struct master *m, int64_t now)
{
    if (m->stopping) {
        m->stop_by = 0;
        for (size_t i = 0; i < m->leaver_count; i++)
            m->leavers[i].kill_at = now;
        return;
    }
    notify_send(&m->notify,
                "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64 "\nSTATUS=stopping",
                ((int64_t)m->conf->drain_timeout * 1000 + STOP_MARGIN) * 1000);
    m->stopping = true;
    m->stop_by = now + (int64_t)m->conf->drain_timeout * 1000;
    stop_slots(m, 0, m->slot_count - 1, m->stop_by);
}

static void kill_overdue(struct master *m, int64_t now)
{
    for (size_t i = 0; i < m->leaver_count; i++) {
        struct leaver *leaver = &m->leavers[i];
        if (leaver->kill_at > now)
            continue;
        log_warning("process did not finish in time, killing it: pid %ld",
                    (long)leaver->pid);
        kill(leaver->pid, SIGKILL);
        leaver->kill_at = INT64_MAX;
    }
}

/* Tells the service manager that the pool serves, and keeps its watchdog
 * quiet, which it only does while there is a worker that serves. */
static void report_state(struct master *m, int64_t now)
{
    const size_t workers = m->slot_count - 1;
    bool serves = false;
    if (now < m->next_report)
        return;
    for (size_t i = 0; i < workers; i++)
        serves = serves || (m->slots[i].pid > 0 &&
                            m->slots[i].shared->serves == m->slots[i].pid);
    if (serves && !m->ready && m->next_step == 0) {
        m->ready = true;
        notify_send(
            &m->notify, "READY=1\nSTATUS=curt " CURT_VERSION ", %zu workers%s",
            workers,
            m->reload_failed ? "; reload failed, keeping the old configuration"
                             : "");
    }
    if ((serves || m->stopping) && m->notify.watchdog_ms > 0)
        notify_send(&m->notify, "WATCHDOG=1");
    if (m->stopping || (serves && m->ready))
        m->next_report =
            m->notify.watchdog_ms > 0 ? now + m->notify.watchdog_ms : INT64_MAX;
    else
        m->next_report = now + READY_STEP;
}

/* Waits for a signal, or for when something is to be done without one: then 0.
 */
static int wait_for_signal(const struct master *m)
{
    int64_t deadline = m->next_report;
    for (size_t i = 0; i < m->slot_count && !m->stopping; i++)
        if (m->slots[i].pid == 0 && m->slots[i].due < deadline)
            deadline = m->slots[i].due;
    for (size_t i = 0; i < m->leaver_count; i++)
        if (m->leavers[i].kill_at < deadline)
            deadline = m->leavers[i].kill_at;
    if (m->next_step > 0 && !m->stopping && m->next_step < deadline)
        deadline = m->next_step;
    if (deadline == INT64_MAX)
        return sigwaitinfo(&m->signals, NULL);
    int64_t ms = deadline - clock_monotonic_ms();
    if (ms < 0)
        ms = 0;
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    int sig = sigtimedwait(&m->signals, NULL, &time);
    return sig > 0 ? sig : 0;
}

static void master_serve(struct master *m)
{
    bool children = true;
    start_due(m, clock_monotonic_ms());
    while (!m->stopping || children) {
        int sig = wait_for_signal(m);
        int64_t now = clock_monotonic_ms();
        if (sig == SIGHUP && !m->stopping)
            master_reload(m, now);
        else if (sig == SIGTERM || sig == SIGINT || sig == SIGQUIT ||
                 sig == SIGUSR1)
            stop_workers(m, now);
        reap_children(m, now);
        step_reload(m, now);
        start_due(m, now);
        if (m->stopping && m->leaver_count == 0) {
            /* The janitor flushes the hits of the last workers and ends. */
            const int64_t grace = m->stop_by > 0 ? now + JANITOR_GRACE : now;
            stop_slots(m, m->slot_count - 1, m->slot_count,
                       grace > m->stop_by ? grace : m->stop_by);
        }
        kill_overdue(m, now);
        report_state(m, now);
        children = m->leaver_count > 0;
        for (size_t i = 0; i < m->slot_count; i++)
            children = children || m->slots[i].pid > 0;
    }
}

static void block_signals(struct master *m)
{
    static const int waited[] = {SIGCHLD, SIGHUP,  SIGINT,
                                 SIGQUIT, SIGTERM, SIGUSR1};
    sigemptyset(&m->signals);
    for (size_t i = 0; i < sizeof(waited) / sizeof(waited[0]); i++)
        sigaddset(&m->signals, waited[i]);
    sigprocmask(SIG_BLOCK, &m->signals, NULL);
    /* An ignored signal need not be delivered, even to sigwaitinfo(). */
    for (size_t i = 0; i < sizeof(waited) / sizeof(waited[0]); i++)
        signal(waited[i], SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
}

int master_run(struct conf *conf, const char *conf_file, unsigned workers,
               const struct master_roles *roles)
{
    struct master m = {.conf = conf, .conf_file = conf_file};
    log_open("master");
    block_signals(&m);
    m.slot_count = workers + 1;
    m.slots = mem_zalloc(m.slot_count * sizeof(*m.slots));
    notify_open(&m.notify);
    m.next_report = m.notify.size > 0 ? 0 : INT64_MAX;
    struct master_child *shared =
        mmap(NULL, m.slot_count * sizeof(*shared), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        log_error("cannot start: %s", strerror(errno));
        return EX_OSERR;
    }
    for (size_t i = 0; i < m.slot_count; i++)
        m.slots[i] = (struct child_slot){
            .role = roles->worker, .name = "worker", .shared = &shared[i]};
    m.slots[workers].role = roles->janitor;
    m.slots[workers].name = "janitor";
    log_info("started with %u workers", workers);
    master_serve(&m);
    log_info("stopped");
    free(m.slots);
    free(m.leavers);
    conf_free(conf);
    return 0;
}
