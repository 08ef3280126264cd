#include "aws_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"

/* How long the first and the longest rest is between two looks at whether the
 * process has ended, in milliseconds. */
#define REST_MIN_MS 1
#define REST_MAX_MS 50

/* Milliseconds until deadline, as poll() takes them. */
static int remaining(int64_t deadline)
{
    int64_t ms = deadline - clock_monotonic_ms();
    if (ms > 60000)
        return 60000;
    return ms > 0 ? (int)ms : 0;
}

/* What the new process has: an empty standard input, the pipe, no standard
 * error, nothing else open; a group of its own; signals as a shell has them. A
 * worker ignores SIGPIPE and the janitor blocks TERM, which would both be
 * inherited. The pipe goes first: its number may be 0 or 2. */
static int set_up(posix_spawn_file_actions_t *files, posix_spawnattr_t *attr,
                  int output)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int fault = posix_spawn_file_actions_adddup2(files, output, STDOUT_FILENO);
    if (fault == 0)
        fault = posix_spawn_file_actions_addopen(files, STDIN_FILENO,
                                                 "/dev/null", O_RDONLY, 0);
    if (fault == 0)
        fault = posix_spawn_file_actions_addopen(files, STDERR_FILENO,
                                                 "/dev/null", O_WRONLY, 0);
    if (fault == 0)
        fault = posix_spawn_file_actions_addclosefrom_np(files, 3);
    if (fault == 0)
        fault = posix_spawnattr_setpgroup(attr, 0);
    if (fault == 0)
        fault = posix_spawnattr_setsigdefault(attr, &all);
    if (fault == 0)
        fault = posix_spawnattr_setsigmask(attr, &none);
    if (fault == 0)
        fault = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP |
                                                   POSIX_SPAWN_SETSIGDEF |
                                                   POSIX_SPAWN_SETSIGMASK);
    return fault;
}

/* Starts the command with output as its standard output; 0 or an error
 * number. posix_spawn() and not fork(): the janitor has threads, and only what
 * is safe in a signal handler may be called between fork() and exec() then. */
static int start(const char *command, int output, pid_t *pid)
{
    /* execve() does not change what is in argv. */
    char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                    (char *)(uintptr_t)command, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    int fault = posix_spawn_file_actions_init(&files);
    if (fault != 0)
        return fault;
    fault = posix_spawnattr_init(&attr);
    if (fault == 0) {
        fault = set_up(&files, &attr, output);
        if (fault == 0)
            fault = posix_spawn(pid, "/bin/sh", &files, &attr, argv, environ);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&files);
    return fault;
}

/* Reads until the end of the pipe. RESULT_UNAVAILABLE: it did not come in
 * time. RESULT_DENIED: more than size bytes came. */
static enum result collect(int fd, int64_t deadline, char *bytes, size_t size,
                           size_t *len)
{
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int left = remaining(deadline);
        if (left == 0)
            return RESULT_UNAVAILABLE;
        if (poll(&ready, 1, left) <= 0)
            continue;
        char extra;
        ssize_t n = *len < size ? read(fd, bytes + *len, size - *len)
                                : read(fd, &extra, 1);
        if (n == 0)
            return RESULT_OK;
        if (n > 0 && *len == size)
            return RESULT_DENIED;
        if (n > 0)
            *len += (size_t)n;
        else if (errno != EINTR && errno != EAGAIN)
            return RESULT_UNAVAILABLE;
    }
}

/* Waits for the process alone: others of this one's children belong to others.
 * False: it did not end in time. Where this process was started with SIGCHLD
 * ignored, there is no status to be had; then it counts as 0. */
static bool wait_until(pid_t pid, int64_t deadline, int *status)
{
    int rest = REST_MIN_MS;
    *status = 0;
    for (;;) {
        pid_t ended = waitpid(pid, status, WNOHANG);
        if (ended == pid || (ended < 0 && errno != EINTR))
            return true;
        int left = remaining(deadline);
        if (left == 0)
            return false;
        poll(NULL, 0, rest < left ? rest : left);
        rest = rest * 2 < REST_MAX_MS ? rest * 2 : REST_MAX_MS;
    }
}

/* Ends the process and all others of its group, and waits for it. It has not
 * been waited for, so that nobody else can have got its number. */
static void end_group(pid_t pid)
{
    int status;
    kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
}

static enum result judge(int status, struct buf *reason)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return RESULT_OK;
    if (WIFEXITED(status))
        buf_addf(reason, "the command ended with status %d",
                 WEXITSTATUS(status));
    else
        buf_addf(reason, "the command was ended by signal %d",
                 WTERMSIG(status));
    buf_addf(reason, "; run it as user %u to see why", (unsigned)geteuid());
    return RESULT_DENIED;
}

static enum result follow(pid_t pid, int fd, int64_t deadline, char *bytes,
                          size_t size, size_t *len, struct buf *reason)
{
    int status;
    enum result r = collect(fd, deadline, bytes, size, len);
    if (r == RESULT_OK && wait_until(pid, deadline, &status))
        return judge(status, reason);
    end_group(pid);
    if (r == RESULT_DENIED) {
        buf_addf(reason, "the command printed more than %zu bytes", size);
        return r;
    }
    buf_add_str(reason, "the command did not end in time");
    return RESULT_UNAVAILABLE;
}

static enum result run(const char *command, int64_t deadline, char *bytes,
                       size_t size, size_t *len, struct buf *reason)
{
    int ends[2];
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        buf_addf(reason, "no pipe for the command: %s", strerror(errno));
        return RESULT_UNAVAILABLE;
    }
    int fault = start(command, ends[1], &pid);
    close(ends[1]);
    enum result r = RESULT_UNAVAILABLE;
    if (fault == 0)
        r = follow(pid, ends[0], deadline, bytes, size, len, reason);
    else
        buf_addf(reason, "/bin/sh cannot be started: %s", strerror(fault));
    close(ends[0]);
    return r;
}

enum result aws_process_run(const char *command, int64_t deadline,
                            struct buf *out, struct buf *reason)
{
    /* Collected apart, and appended at once: a buffer that grows leaves copies
     * of secrets behind. */
    size_t size = out->max - out->len, len = 0;
    char *bytes = mem_secret_alloc(size + 1);
    enum result r = run(command, deadline, bytes, size, &len, reason);
    if (r == RESULT_OK)
        buf_add(out, bytes, len);
    mem_secret_free(bytes, size + 1);
    return r;
}
