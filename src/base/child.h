/* Child processes: how another program is started, so that nothing of this
 * process reaches it but what the caller names; and how a child ends with its
 * parent. */
#ifndef CURT_CHILD_H
#define CURT_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Value in fds for /dev/null. */
#define CHILD_NULL (-1)

/* Starts the program at path. argv and environment end with NULL; neither is
 * changed. Its descriptor i is a copy of fds[i] for i below count (at least 1),
 * or /dev/null; no other is open. An fds[i] other than i must not be below
 * count, unless it is the first one that is not CHILD_NULL. Signals are as a
 * shell has them: default actions, none blocked. own_group: it leads a process
 * group of its own. Returns 0 and sets *pid, or returns an error number.
 *
 * posix_spawn(3) and not fork(2): this process may have threads (the janitor's
 * own, libcurl's), and between fork and exec only async-signal-safe functions
 * could be called then. */
int child_start(const char *path, const char *const *argv,
                char *const *environment, const int *fds, size_t count,
                bool own_group, pid_t *pid);

/* Lets this process receive the signal when its parent ends, or now, if the
 * parent has ended already (prctl(2), PR_SET_PDEATHSIG). Block the signal first
 * where its action would end the process too early. */
void child_end_with(pid_t parent, int sig);

#endif
