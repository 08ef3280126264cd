#include "aws/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/mem.h"

/* The first and the longest pause between two checks whether the process has
 * ended, in milliseconds. */
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

/* Starts the command with output as its standard output; 0 or an error number.
 * It leads a process group, so that all it starts can be ended with it. AWS_
 * variables that are empty are not passed on: to curt they are absent, but to
 * the AWS CLI an empty AWS_CA_BUNDLE disables the verification of certificates.
 */
static int process_start(const char *command, int output, pid_t *pid)
{
    const char *const argv[] = {"sh", "-c", command, NULL};
    const int fds[] = {CHILD_NULL, output, CHILD_NULL};
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
    int fault = child_start("/bin/sh", argv, list, fds, 3, true, pid);
    free(list);
    return fault;
}

/* Appends what comes out of the pipe until its end. RESULT_UNAVAILABLE: it did
 * not end in time. RESULT_DENIED: it is more than fits into out. */
static enum result process_collect(int fd, int64_t deadline, struct buf *out)
{
    char bytes[4096];
    enum result r = RESULT_UNAVAILABLE;
    int left;
    while (r == RESULT_UNAVAILABLE &&
           (left = process_remaining(deadline)) > 0) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, left) <= 0)
            continue;
        ssize_t n = read(fd, bytes, sizeof(bytes));
        if (n == 0)
            r = RESULT_OK;
        else if (n > 0 && (size_t)n > out->max - out->len)
            r = RESULT_DENIED;
        else if (n > 0)
            buf_add(out, bytes, (size_t)n);
        else if (errno != EINTR && errno != EAGAIN)
            break;
    }
    mem_wipe(bytes, sizeof(bytes));
    return r;
}

/* Waits only for this process: this one's other children belong to others.
 * False: it did not end in time. Where this process was started with SIGCHLD
 * ignored, the status is not available; then it counts as 0. */
static bool process_wait(pid_t pid, int64_t deadline, int *status)
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

enum result aws_process_run(const char *command, int64_t deadline,
                            struct buf *out, struct buf *reason)
{
    const size_t before = out->len;
    int ends[2], status;
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        buf_addf(reason, "cannot create a pipe for the command: %s",
                 strerror(errno));
        return RESULT_UNAVAILABLE;
    }
    int fault = process_start(command, ends[1], &pid);
    close(ends[1]);
    if (fault != 0) {
        close(ends[0]);
        buf_addf(reason, "cannot start /bin/sh: %s", strerror(fault));
        return RESULT_UNAVAILABLE;
    }
    enum result r = process_collect(ends[0], deadline, out);
    if (r == RESULT_OK && !process_wait(pid, deadline, &status))
        r = RESULT_UNAVAILABLE;
    if (r != RESULT_OK) {
        /* It was not waited for, so its number is still its own. */
        kill(-pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    close(ends[0]);
    if (r == RESULT_UNAVAILABLE) {
        buf_add_str(reason, "the command did not end in time");
    } else if (r == RESULT_DENIED) {
        buf_addf(reason, "the command printed more than %zu bytes",
                 out->max - before);
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        if (WIFEXITED(status))
            buf_addf(reason, "the command ended with status %d",
                     WEXITSTATUS(status));
        else
            buf_addf(reason, "the command was ended by signal %d",
                     WTERMSIG(status));
        buf_addf(reason, "; run it as user %u to see why", (unsigned)geteuid());
        r = RESULT_DENIED;
    }
    if (r != RESULT_OK)
        buf_truncate(out, before);
    return r;
}
