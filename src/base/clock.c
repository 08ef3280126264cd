#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

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

int64_t clock_now(void)
{
    return (int64_t)time(NULL);
}

int64_t clock_monotonic_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void clock_text(int64_t t, char text[CLOCK_TEXT_SIZE])
{
    time_t seconds = (time_t)t;
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL ||
        strftime(text, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        snprintf(text, CLOCK_TEXT_SIZE, "%lld", (long long)t);
}

void clock_pause_ms(int64_t ms)
{
    if (ms <= 0)
        return;
    const struct timespec t = {.tv_sec = (time_t)(ms / 1000),
                               .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

/* Reads Z or +hh:mm as seconds. */
static bool parse_offset(const char *s, int *seconds)
{
    int hours, minutes, end = 0;
    *seconds = 0;
    if (strcasecmp(s, "Z") == 0)
        return true;
    if ((*s != '+' && *s != '-') || strspn(s + 1, "0123456789:") != 5 ||
        sscanf(s + 1, "%2d:%2d%n", &hours, &minutes, &end) != 2 || end != 5 ||
        s[6] != '\0' || hours > 23 || minutes > 59)
        return false;
    *seconds = (hours * 60 + minutes) * (*s == '-' ? -60 : 60);
    return true;
}

bool clock_parse(const char *text, int64_t *t)
{
    static const char form[] = "0000-00-00?00:00:00", digits[] = "0123456789";
    struct tm tm = {.tm_isdst = 0};
    int offset;
    for (size_t i = 0; form[i] != '\0'; i++) {
        const char other[] = {form[i], '\0'};
        const char *allowed = form[i] == '0'   ? digits
                              : form[i] == '?' ? "Tt "
                                               : other;
        if (text[i] == '\0' || strchr(allowed, text[i]) == NULL)
            return false;
    }
    sscanf(text, "%4d-%2d-%2d%*c%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon,
           &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec);
    const char *rest = text + sizeof(form) - 1;
    if (*rest == '.') {
        const size_t fraction = strspn(rest + 1, digits);
        if (fraction == 0)
            return false;
        rest += 1 + fraction;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    const bool leap_second = tm.tm_sec == 60;
    tm.tm_sec -= leap_second;
    const struct tm given = tm;
    const time_t seconds = timegm(&tm);
    /* timegm() takes 2026-02-30 as 2026-03-02. */
    if (!parse_offset(rest, &offset) || tm.tm_year != given.tm_year ||
        tm.tm_mon != given.tm_mon || tm.tm_mday != given.tm_mday ||
        tm.tm_hour != given.tm_hour || tm.tm_min != given.tm_min ||
        given.tm_year < -1899)
        return false;
    *t = seconds + leap_second - offset;
    return true;
}

uint32_t clock_jitter(void)
{
    uint32_t bits;
    if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != (ssize_t)sizeof(bits))
        bits = (uint32_t)clock_monotonic_ms() * 2654435761u;
    return bits;
}

/* ---- The measured time ----------------------------------------------- */

void clock_measure(struct clock_measured *w)
{
    struct timespec up;
    clock_gettime(CLOCK_BOOTTIME, &up);
    clock_measure_step(w, clock_now(), (int64_t)up.tv_sec, mapfile_boot());
}

void clock_measure_step(struct clock_measured *w, int64_t wall, int64_t uptime,
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
    if (w->time >= wall || w->watched >= CLOCK_AHEAD_WAIT) {
        w->time = wall;
        w->watched = 0;
    }
}

bool clock_load(const char *dir, struct clock_measured *w)
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
        w->watched <= CLOCK_AHEAD_WAIT && strchr(text, '\n') != NULL)
        return true;
    *w = (struct clock_measured){.time = 0};
    return false;
}

bool clock_save(const char *dir, const struct clock_measured *w)
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
