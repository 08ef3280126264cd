#include "turn.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"
#include "mapfile.h"
#include "mem.h"

/* How long the turn is waited for, in milliseconds. */
#define WAIT_MS 500

struct shared {
    struct mapfile_header header;
    pthread_mutex_t mutex; /* robust: that of a dead holder is given on */
};

struct turn {
    struct mapfile file;
    struct shared *shared;
};

static void init_shared(void *base)
{
    struct shared *s = base;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&s->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
}

struct turn *turn_open(const char *dir, const char *name)
{
    const struct mapfile_kind kind = {
        .header = {.magic = "curttrn",
                   .version = 1,
                   .header_size = offsetof(struct shared, mutex),
                   .size = sizeof(struct shared),
                   /* A mutex means nothing to the processes of another boot. */
                   .owner = mapfile_boot()},
        .init = init_shared};
    struct mapfile file;
    const char *reason;
    /* A robust mutex is in a list of its thread, by pointers in the file. */
    if (mapfile_is_of_other_user(dir) ||
        mapfile_open(dir, name, &kind, &file, &reason) != RESULT_OK)
        return NULL;
#ifdef __GLIBC__
    /* Of another kind only in a damaged file, for which glibc may abort. */
    struct shared fresh;
    init_shared(&fresh);
    const struct shared *found = file.base;
    if (found->mutex.__data.__kind != fresh.mutex.__data.__kind) {
        mapfile_close(&file);
        return NULL;
    }
#endif
    struct turn *t = mem_zalloc(sizeof(*t));
    *t = (struct turn){.file = file, .shared = file.base};
    return t;
}

void turn_close(struct turn *t)
{
    if (t == NULL)
        return;
    mapfile_close(&t->file);
    free(t);
}

bool turn_take(struct turn *t, int64_t limit)
{
    if (t == NULL)
        return false;
    const int64_t most = clock_monotonic_ms() + WAIT_MS;
    const int64_t ms = limit < most ? limit : most;
    const struct timespec end = {.tv_sec = (time_t)(ms / 1000),
                                 .tv_nsec = (long)(ms % 1000) * 1000000};
    int rc = pthread_mutex_clocklock(&t->shared->mutex, CLOCK_MONOTONIC, &end);
    if (rc == EOWNERDEAD)
        rc = pthread_mutex_consistent(&t->shared->mutex);
    return rc == 0;
}

void turn_give(struct turn *t)
{
    pthread_mutex_unlock(&t->shared->mutex);
}
