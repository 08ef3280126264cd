#include "crew.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"

int crew_set_up(void **state)
{
    static struct conf conf;
    char dir[] = "/tmp/curt-unit-XXXXXX";
    assert_non_null(mkdtemp(dir));
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

static void remove_dir(const char *path)
{
    DIR *dir = opendir(path);
    assert_non_null(dir);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0) < 0)
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR),
                             0);
    }
    closedir(dir);
    assert_int_equal(rmdir(path), 0);
}

int crew_tear_down(void **state)
{
    struct conf *conf = *state;
    remove_dir(conf->state_dir);
    free(conf->state_dir);
    free(conf->runtime_dir);
    return 0;
}

const char *crew_path(const struct conf *conf, const char *name)
{
    static char path[4096];
    snprintf(path, sizeof(path), "%s/%s", conf->state_dir, name);
    return path;
}

void *crew_share(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    return p;
}

/* In the child: works, and is gone when the test is. */
static void work_and_exit(crew_work *work, void *arg)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    work(arg);
    _exit(0);
}

pid_t crew_start(crew_work *work, void *arg)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        work_and_exit(work, arg);
    return child;
}

void crew_slay(pid_t child)
{
    int status;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    /* One that had ended by itself must have ended well. */
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
}

void crew_freeze(pid_t child)
{
    int status;
    kill(child, SIGSTOP);
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
}

void crew_finish(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Steps are two changes of process each: faster on one processor. */
static void share_processor(cpu_set_t *before)
{
    cpu_set_t one;
    assert_int_equal(sched_getaffinity(0, sizeof(*before), before), 0);
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    sched_setaffinity(0, sizeof(one), &one);
}

/* In a child that is traced: stops itself before the work and behind it. */
static void be_traced(crew_work *work, void *arg)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        _exit(1);
    raise(SIGSTOP);
    work(arg);
    raise(SIGSTOP);
    _exit(0);
}

/* Lets a traced child go on, by one instruction or to where it stops. Whether
 * it is still at work then; it must not have ended there. */
static bool go_on(pid_t child, enum __ptrace_request how)
{
    int status;
    assert_int_equal(ptrace(how, child, NULL, NULL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSTOPPED(status));
    return WSTOPSIG(status) != SIGSTOP;
}

/* A child that is about to work. */
static pid_t start_traced(crew_work *work, void *arg)
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

bool crew_interrupt(crew_work *work, void *arg, unsigned steps,
                    crew_work *meanwhile, void *other)
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

bool crew_kill_at_change(crew_work *work, void *arg, const void *watched,
                         size_t len, unsigned n)
{
    cpu_set_t before;
    void *last = mem_alloc(len);
    memcpy(last, watched, len);
    share_processor(&before);
    pid_t child = start_traced(work, arg);
    bool at_work = true;
    while (n > 0 && at_work) {
        at_work = go_on(child, PTRACE_SINGLESTEP);
        if (memcmp(last, watched, len) != 0) {
            memcpy(last, watched, len);
            n--;
        }
    }
    end_traced(child);
    sched_setaffinity(0, sizeof(before), &before);
    free(last);
    return at_work;
}

void crew_meet(_Atomic unsigned *gate, unsigned count)
{
    atomic_fetch_add(gate, 1);
    while (atomic_load(gate) < count)
        sched_yield();
}

uint32_t crew_random(uint32_t n)
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

void crew_sleep_us(unsigned us)
{
    const struct timespec time = {us / 1000000, (long)(us % 1000000) * 1000};
    nanosleep(&time, NULL);
}
