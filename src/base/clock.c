#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

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

int64_t clock_uptime(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec;
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
