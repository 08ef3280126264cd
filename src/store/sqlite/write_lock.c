#include "store/sqlite/write_lock.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/mapfile.h"
#include "base/mem.h"

/* How long the lock is waited for, in milliseconds. */
#define WAIT_MS 500

struct write_lock_file {
    struct mapfile_header header;
    pthread_mutex_t mutex; /* robust: that of a dead holder is given on */
};

struct write_lock {
    struct mapfile file;
    pthread_mutex_t *mutex;
};

static void init_mutex(void *base)
{
    struct write_lock_file *f = base;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&f->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
}

struct write_lock *write_lock_open(const char *dir, const char *name)
{
    const struct mapfile_kind kind = {
        .header = {.magic = "curttrn",
                   .version = 1,
                   .header_size = offsetof(struct write_lock_file, mutex),
                   .size = sizeof(struct write_lock_file),
                   /* A mutex means nothing to the processes of another boot. */
                   .owner = mapfile_boot()},
        .init = init_mutex};
    struct mapfile file;
    const char *reason;
    /* A robust mutex is in a list of its thread, by pointers in the file. */
    if (mapfile_is_of_other_user(dir) ||
        mapfile_open(dir, name, &kind, &file, &reason) != RESULT_OK)
        return NULL;
    struct write_lock_file *f = file.base;
#ifdef __GLIBC__
    /* Of another kind only in a damaged file, for which glibc may abort. */
    struct write_lock_file fresh;
    init_mutex(&fresh);
    if (f->mutex.__data.__kind != fresh.mutex.__data.__kind) {
        mapfile_close(&file);
        return NULL;
    }
#endif
    struct write_lock *w = mem_alloc(sizeof(*w));
    *w = (struct write_lock){.file = file, .mutex = &f->mutex};
    return w;
}

void write_lock_close(struct write_lock *w)
{
    if (w == NULL)
        return;
    mapfile_close(&w->file);
    free(w);
}

bool write_lock_take(struct write_lock *w, int64_t limit)
{
    if (w == NULL)
        return false;
    const int64_t most = clock_monotonic_ms() + WAIT_MS;
    const int64_t ms = limit < most ? limit : most;
    const struct timespec end = {.tv_sec = (time_t)(ms / 1000),
                                 .tv_nsec = (long)(ms % 1000) * 1000000};
    int rc = pthread_mutex_clocklock(w->mutex, CLOCK_MONOTONIC, &end);
    if (rc == EOWNERDEAD)
        rc = pthread_mutex_consistent(w->mutex);
    return rc == 0;
}

void write_lock_release(struct write_lock *w)
{
    pthread_mutex_unlock(w->mutex);
}
