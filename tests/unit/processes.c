#include "processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include "base/mapfile.h"
#include "base/mem.h"
#include "test.h"

int temp_conf_set_up(void **state)
{
    static struct conf conf;
    const char *dir = temp_dir();
    conf = (struct conf){.state_dir = mem_dup(dir),
                         .runtime_dir = mem_dup(dir),
                         .store_timeout = 1,
                         .cache_size = 1 << 20,
                         .cache_ttl = 60,
                         .cache_stale = 86400};
    log_set_level(LOG_LEVEL_ERROR);
    *state = &conf;
    return 0;
}

int temp_conf_tear_down(void **state)
{
    struct conf *conf = *state;
    remove_dir(conf->state_dir);
    free(conf->state_dir);
    free(conf->runtime_dir);
    return 0;
}

const char *temp_path(const struct conf *conf, const char *name)
{
    static char path[4096];
    snprintf(path, sizeof(path), "%s/%s", conf->state_dir, name);
    return path;
}

void *share_memory(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    return p;
}

/* In the child, which ends with the test. */
static void work_and_exit(process_work *work, void *arg)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    work(arg);
    _exit(0);
}

pid_t process_start(process_work *work, void *arg)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        work_and_exit(work, arg);
    return child;
}

void process_kill(pid_t child)
{
    int status;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    /* If it had ended before, then with status 0. */
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
}

void process_stop(pid_t child)
{
    int status;
    kill(child, SIGSTOP);
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
}

void process_wait(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

pid_t process_start_with_lock(const char *path)
{
    char c;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct mapfile m = {.fd = open(path, O_RDWR | O_CLOEXEC)};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (m.fd < 0 || !mapfile_lock(&m, 1000000) ||
            write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    return child;
}

/* Each step switches between two processes, which is faster on one CPU. */
static void share_processor(cpu_set_t *before)
{
    cpu_set_t one;
    assert_int_equal(sched_getaffinity(0, sizeof(*before), before), 0);
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    sched_setaffinity(0, sizeof(one), &one);
}

/* In a traced child: stops itself before and after the work. */
static void be_traced(process_work *work, void *arg)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        _exit(1);
    raise(SIGSTOP);
    work(arg);
    raise(SIGSTOP);
    _exit(0);
}

/* Continues a traced child, by one instruction or until it stops. Returns
 * whether it is still at work; it must not have exited. */
static bool go_on(pid_t child, enum __ptrace_request how)
{
    int status;
    assert_int_equal(ptrace(how, child, NULL, NULL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGUSR1) {
        /* process_skip(), up to the second one. */
        assert_int_equal(ptrace(PTRACE_CONT, child, NULL, NULL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
    }
    assert_true(WIFSTOPPED(status));
    return WSTOPSIG(status) != SIGSTOP;
}

void process_skip(void)
{
    raise(SIGUSR1);
}

/* Returns a child that is stopped before its work. */
static pid_t start_traced(process_work *work, void *arg)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        be_traced(work, arg);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSTOPPED(status));
    return child;
}

static void end_traced(pid_t child)
{
    int status;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
}

bool process_interrupt(process_work *work, void *arg, unsigned steps,
                       process_work *meanwhile, void *other)
{
    cpu_set_t before;
    share_processor(&before);
    pid_t child = start_traced(work, arg);
    bool at_work = true;
    for (unsigned n = 0; n < steps && at_work; n++)
        at_work = go_on(child, PTRACE_SINGLESTEP);
    if (at_work) {
        meanwhile(other);
        assert_false(go_on(child, PTRACE_CONT));
    }
    end_traced(child);
    sched_setaffinity(0, sizeof(before), &before);
    return at_work;
}

/* Runs the work up to that change or to its end; returns how many there were.
 */
static unsigned run_to_change(process_work *work, void *arg,
                              const void *watched, size_t len, unsigned n)
{
    cpu_set_t before;
    void *last = mem_alloc(len);
    memcpy(last, watched, len);
    share_processor(&before);
    pid_t child = start_traced(work, arg);
    bool at_work = true;
    unsigned seen = 0;
    while (seen < n && at_work) {
        at_work = go_on(child, PTRACE_SINGLESTEP);
        if (memcmp(last, watched, len) != 0) {
            memcpy(last, watched, len);
            seen++;
        }
    }
    end_traced(child);
    sched_setaffinity(0, sizeof(before), &before);
    free(last);
    return seen;
}

bool process_kill_at_change(process_work *work, void *arg, const void *watched,
                            size_t len, unsigned n)
{
    return run_to_change(work, arg, watched, len, n) == n;
}

unsigned process_count_changes(process_work *work, void *arg,
                               const void *watched, size_t len)
{
    return run_to_change(work, arg, watched, len, UINT_MAX);
}

void process_barrier(_Atomic unsigned *gate, unsigned count)
{
    atomic_fetch_add(gate, 1);
    while (atomic_load(gate) < count)
        sched_yield();
}

uint32_t random_below(uint32_t n)
{
    static uint64_t seed;
    static pid_t owner;
    if (owner != getpid()) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        owner = getpid();
        seed =
            (uint64_t)now.tv_nsec << 20 ^ (uint64_t)owner ^ 88172645463325252;
    }
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16) % n;
}

void sleep_us(unsigned us)
{
    const struct timespec time = {us / 1000000, (long)(us % 1000000) * 1000};
    nanosleep(&time, NULL);
}
