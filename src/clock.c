#include "clock.h"

#include <stdio.h>
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
