#include "doctor_parts.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "mem.h"

char *doctor_user_name(uid_t user)
{
    const struct passwd *entry = getpwuid(user);
    return entry != NULL ? mem_dup(entry->pw_name)
                         : mem_printf("%lu", (unsigned long)user);
}

char *doctor_wanted_user(const struct doctor *d)
{
    return d->user_known ? doctor_user_name(d->user) : mem_dup("curt");
}

/* Becomes the user for good, with the user's groups and home. */
static bool become_user(uid_t user)
{
    const struct passwd *entry = getpwuid(user);
    const gid_t group = entry != NULL ? entry->pw_gid : (gid_t)user;
    int done =
        entry != NULL ? initgroups(entry->pw_name, group) : setgroups(0, NULL);
    return done == 0 &&
           setenv("HOME", entry != NULL ? entry->pw_dir : "/", 1) == 0 &&
           setresgid(group, group, group) == 0 &&
           setresuid(user, user, user) == 0;
}

bool doctor_can_tell(const struct doctor *d)
{
    return geteuid() == 0 || !d->user_known || d->user == geteuid();
}

void doctor_check_user(struct doctor *d)
{
    if (doctor_can_tell(d))
        return;
    char *user = doctor_user_name(d->user);
    char *advice = mem_printf("run curt doctor as root or as %s", user);
    report_add(d->report, REPORT_WARN, "user", advice,
               "you are not %s, the owner of STATE_DIR or of the pool: not "
               "everything can be checked",
               user);
    free(advice);
    free(user);
}

static _Noreturn void run_in_child(struct doctor *d,
                                   int (*run)(struct doctor *), int root)
{
    d->root = root;
    if (!become_user(d->user))
        report_add(d->report, REPORT_WARN, "user",
                   "run curt doctor where root may change to other users",
                   "the next checks ran as root: changing to the pool's user "
                   "is not permitted here");
    int status = run(d);
    if (fflush(stdout) != 0)
        status = EX_IOERR;
    _exit(status);
}

int doctor_run_as_user(struct doctor *d, int (*run)(struct doctor *d))
{
    int ends[2], status;
    if (geteuid() != 0 || !d->user_known || d->user == 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return run(d);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        run_in_child(d, run, ends[1]);
    }
    close(ends[1]);
    if (child > 0)
        doctor_serve_user(d, ends[0]);
    close(ends[0]);
    if (child < 0)
        return run(d);
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return EX_SOFTWARE;
    return WEXITSTATUS(status);
}
