#include "base/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <unistd.h>

int child_start(const char *path, const char *const *argv,
                char *const *environment, const int *fds, size_t count,
                bool own_group, pid_t *pid)
{
    sigset_t all, none;
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigfillset(&all);
    sigemptyset(&none);
    int fault = posix_spawn_file_actions_init(&files);
    if (fault != 0)
        return fault;
    fault = posix_spawnattr_init(&attr);
    if (fault == 0) {
        /* Copies first: opening /dev/null could close what is still to be
         * copied. */
        for (size_t i = 0; i < count && fault == 0; i++)
            if (fds[i] != CHILD_NULL)
                fault =
                    posix_spawn_file_actions_adddup2(&files, fds[i], (int)i);
        for (size_t i = 0; i < count && fault == 0; i++)
            if (fds[i] == CHILD_NULL)
                fault = posix_spawn_file_actions_addopen(
                    &files, (int)i, "/dev/null", O_RDWR, 0);
        if (fault == 0)
            fault =
                posix_spawn_file_actions_addclosefrom_np(&files, (int)count);
        if (fault == 0)
            fault = posix_spawnattr_setsigdefault(&attr, &all);
        if (fault == 0)
            fault = posix_spawnattr_setsigmask(&attr, &none);
        if (fault == 0)
            fault = posix_spawnattr_setflags(
                &attr, (short)(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
                               (own_group ? POSIX_SPAWN_SETPGROUP : 0)));
        /* execve(2) does not change what is in argv. */
        if (fault == 0)
            fault = posix_spawn(pid, path, &files, &attr,
                                (char *const *)(uintptr_t)argv, environment);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&files);
    return fault;
}

void child_end_with(pid_t parent, int sig)
{
    prctl(PR_SET_PDEATHSIG, sig);
    if (getppid() != parent) /* it ended before that */
        raise(sig);
}
