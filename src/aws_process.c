#include "aws_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "clock.h"
#include "mem.h"

/* How long the first and the longest rest is between two looks at whether the
 * process has ended, in milliseconds. */
#define REST_MIN_MS 1
#define REST_MAX_MS 50

/* Milliseconds until deadline, as poll() takes them. */
static int process_remaining(int64_t deadline)
{
    int64_t ms = deadline - clock_monotonic_ms();
    if (ms > 60000)
        return 60000;
    return ms > 0 ? (int)ms : 0;
}

/* The environment for the command: that of this process, without the AWS_
 * variables that are empty. To curt they are absent; to the AWS CLI an empty
 * AWS_CA_BUNDLE means not to verify any certificate. Freed by the caller. */
static char **make_environment(void)
{
    size_t count = 0, kept = 0;
    while (environ[count] != NULL)
        count++;
    char **list = mem_zalloc((count + 1) * sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        const char *value = strchr(environ[i], '=');
        if (strncmp(environ[i], "AWS_", 4) != 0 || value == NULL ||
            value[1] != '\0')
            list[kept++] = environ[i];
    }
    return list;
}

/* Starts the command with output as its standard output; 0 or an error number.
 * It leads a process group, so that all it starts can be ended with it. */
static int process_start(const char *command, int output, pid_t *pid)
{
    const char *const argv[] = {"sh", "-c", command, NULL};
    const int fds[] = {CHILD_NULL, output, CHILD_NULL};
    char **environment = make_environment();
    int fault = child_start("/bin/sh", argv, environment, fds, 3, true, pid);
    free(environment);
    return fault;
}

/* Reads until the end of the pipe. RESULT_UNAVAILABLE: it did not come in
 * time. RESULT_DENIED: more than size bytes came. */
static enum result process_collect(int fd, int64_t deadline, char *bytes,
                                   size_t size, size_t *len)
{
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int left = process_remaining(deadline);
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
        int left = process_remaining(deadline);
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

static enum result process_result(int status, struct buf *reason)
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

static enum result process_follow(pid_t pid, int fd, int64_t deadline,
                                  char *bytes, size_t size, size_t *len,
                                  struct buf *reason)
{
    int status;
    enum result r = process_collect(fd, deadline, bytes, size, len);
    if (r == RESULT_OK && wait_until(pid, deadline, &status))
        return process_result(status, reason);
    end_group(pid);
    if (r == RESULT_DENIED) {
        buf_addf(reason, "the command printed more than %zu bytes", size);
        return r;
    }
    buf_add_str(reason, "the command did not end in time");
    return RESULT_UNAVAILABLE;
}

static enum result process_run(const char *command, int64_t deadline,
                               char *bytes, size_t size, size_t *len,
                               struct buf *reason)
{
    int ends[2];
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        buf_addf(reason, "no pipe for the command: %s", strerror(errno));
        return RESULT_UNAVAILABLE;
    }
    int fault = process_start(command, ends[1], &pid);
    close(ends[1]);
    enum result r = RESULT_UNAVAILABLE;
    if (fault == 0)
        r = process_follow(pid, ends[0], deadline, bytes, size, len, reason);
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
    enum result r = process_run(command, deadline, bytes, size, &len, reason);
    if (r == RESULT_OK)
        buf_add(out, bytes, len);
    mem_secret_free(bytes, size + 1);
    return r;
}
