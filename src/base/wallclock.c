#include "base/wallclock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/mapfile.h"
#include "base/mem.h"

/* Two steps that are further apart than this, in seconds, were not watching
 * the wall clock in between. */
#define STEP_MAX 60

/* How long another process may take to write the file, in microseconds. */
#define SAVE_WAIT_US 1000000

/* Time, uptime, boot, watched. */
#define FORMAT   "clock 1 %" PRId64 " %" PRId64 " %" PRIx64 " %" PRId64 "\n"
#define TEXT_MAX 128

/* No time that a clock shows, in seconds. */
#define TIME_MAX 1000000000000

void wallclock_now(struct wallclock *w)
{
    wallclock_step(w, clock_now(), clock_uptime(), mapfile_boot());
}

void wallclock_step(struct wallclock *w, int64_t wall, int64_t uptime,
                    uint64_t boot)
{
    int64_t passed = boot == w->boot ? uptime - w->uptime : 0;
    if (passed < 0)
        passed = 0;
    w->boot = boot;
    w->uptime = uptime;
    if (w->time == 0 || wall <= w->time + passed) {
        /* In agreement, or the wall clock went back: then wait for it. */
        w->watched = 0;
        if (wall > w->time)
            w->time = wall;
        return;
    }
    const int64_t seen = passed < STEP_MAX ? passed : STEP_MAX;
    w->watched += seen;
    w->time += passed + seen;
    if (w->time >= wall || w->watched >= WALLCLOCK_WAIT) {
        w->time = wall;
        w->watched = 0;
    }
}

bool wallclock_load(const char *dir, struct wallclock *w)
{
    char text[TEXT_MAX];
    char *path = mem_printf("%s/clock", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
    free(path);
    if (sscanf(text, FORMAT, &w->time, &w->uptime, &w->boot, &w->watched) ==
            4 &&
        w->time > 0 && w->time < TIME_MAX && w->uptime >= 0 &&
        w->uptime < TIME_MAX && w->watched >= 0 &&
        w->watched <= WALLCLOCK_WAIT && strchr(text, '\n') != NULL)
        return true;
    *w = (struct wallclock){.time = 0};
    return false;
}

bool wallclock_save(const char *dir, const struct wallclock *w)
{
    /* The janitor may write while a worker creates the database. */
    int lock = lock_take(dir, "files.lock", SAVE_WAIT_US);
    if (lock < 0)
        return false;
    char *path = mem_printf("%s/clock", dir);
    char *fresh = mem_printf("%s.new", path);
    unlink(fresh); /* of a process that was killed */
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    bool done = fd >= 0 && dprintf(fd, FORMAT, w->time, w->uptime, w->boot,
                                   w->watched) > 0;
    if (fd >= 0) {
        lock_give_to_owner(fd, dir);
        done = fdatasync(fd) == 0 && done;
        close(fd);
        done = done && rename(fresh, path) == 0;
    }
    const int error = errno;
    free(fresh);
    free(path);
    close(lock);
    errno = error;
    return done;
}
