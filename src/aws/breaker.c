#include "aws/breaker.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mapfile.h"
#include "base/mem.h"

#define VERSION 2
#define NAME    "circuit"

/* Probes that fail are counted up to this; the pause is at its maximum then. */
#define PROBES_MAX 8

/* All zeros: closed, and nothing has failed. Whatever a damaged file holds, a
 * time that cannot be right counts as over. */
struct state {
    _Atomic uint32_t failures; /* in a row; from BREAKER_FAILURES on it is open,
                                * and each probe that fails adds one */
    _Atomic int64_t probe_ms;  /* open: when the next probe may begin */
    _Atomic int64_t since_ms;  /* when it opened or closed */
};

struct shared {
    struct mapfile_header header;
    _Alignas(64) struct state state; /* on a cache line of its own */
};

struct breaker {
    struct mapfile file;
    struct state *state; /* in the file, or own */
    struct state own;
    int64_t begun_ms; /* of the last call */
    int64_t claim;    /* what it set probe_ms to, if it is the probe; or 0 */
};

struct breaker *breaker_new(const char *dir, uint64_t owner)
{
    struct breaker *b = mem_zalloc(sizeof(*b));
    const struct mapfile_kind kind = {
        .header = {.magic = "curtcir",
                   .version = VERSION,
                   .header_size = offsetof(struct shared, state),
                   .size = sizeof(struct shared),
                   /* The times are of a clock that a boot starts over. */
                   .owner = owner ^ mapfile_boot()}};
    const char *reason = "";
    b->state = &b->own;
    if (mapfile_open(dir, NAME, &kind, &b->file, &reason) == RESULT_OK)
        b->state = &((struct shared *)b->file.base)->state;
    else
        log_warning("%s/" NAME ": %s; circuit state not shared between "
                    "processes",
                    dir, reason);
    return b;
}

void breaker_free(struct breaker *b)
{
    if (b == NULL)
        return;
    mapfile_close(&b->file);
    free(b);
}

int64_t breaker_open_ms(const struct breaker *b, int64_t now_ms)
{
    if (b == NULL || atomic_load(&b->state->failures) < BREAKER_FAILURES)
        return 0;
    const int64_t since_ms = atomic_load(&b->state->since_ms);
    return since_ms > 0 && since_ms < now_ms ? now_ms - since_ms : 1;
}

bool breaker_allows(struct breaker *b, int64_t now_ms, int64_t probe_ms,
                    int64_t *wait_ms)
{
    *wait_ms = 1;
    if (b == NULL)
        return true;
    b->begun_ms = now_ms;
    b->claim = 0;
    if (atomic_load(&b->state->failures) < BREAKER_FAILURES)
        return true;
    const uint64_t most =
        (uint64_t)(probe_ms > BREAKER_PAUSE_MAX_MS ? probe_ms
                                                   : BREAKER_PAUSE_MAX_MS);
    int64_t due = atomic_load(&b->state->probe_ms);
    uint64_t left; /* a time that has passed wraps around and is too large */
    while ((left = (uint64_t)due - (uint64_t)now_ms) - 1 >= most) {
        if (atomic_compare_exchange_weak(&b->state->probe_ms, &due,
                                         now_ms + probe_ms)) {
            b->claim = now_ms + probe_ms;
            return true;
        }
    }
    *wait_ms = (int64_t)left;
    return false;
}

/* When the next probe may begin, after so many that failed. */
static int64_t draw_probe_ms(int64_t now_ms, unsigned failed)
{
    uint64_t ms = (uint64_t)BREAKER_PAUSE_MS
                  << (failed < PROBES_MAX ? failed : PROBES_MAX);
    if (ms > BREAKER_PAUSE_MAX_MS)
        ms = BREAKER_PAUSE_MAX_MS;
    return now_ms + (int64_t)(ms / 2 + ((ms / 2 + 1) * clock_jitter() >> 32));
}

static void breaker_failed(struct breaker *b, int64_t now_ms)
{
    struct state *s = b->state;
    uint32_t failures = atomic_load(&s->failures);
    int64_t due = b->claim;
    if (failures >= BREAKER_FAILURES) {
        const uint32_t failed = failures - BREAKER_FAILURES + 1;
        if (due != 0 &&
            atomic_compare_exchange_strong(&s->probe_ms, &due,
                                           draw_probe_ms(now_ms, failed)) &&
            failed < PROBES_MAX)
            atomic_fetch_add(&s->failures, 1);
        return;
    }
    const int64_t since_ms = atomic_load(&s->since_ms);
    if (b->begun_ms < since_ms && since_ms <= now_ms)
        return;
    while (failures < BREAKER_FAILURES &&
           !atomic_compare_exchange_weak(&s->failures, &failures, failures + 1))
        ;
    if (failures != BREAKER_FAILURES - 1)
        return;
    due = 0; /* unless another process is the probe already */
    atomic_compare_exchange_strong(&s->probe_ms, &due,
                                   draw_probe_ms(now_ms, 0));
    atomic_store(&s->since_ms, now_ms);
    log_warning("store unavailable, failing fast");
}

void breaker_report(struct breaker *b, int64_t now_ms, bool answered)
{
    if (b == NULL)
        return;
    struct state *s = b->state;
    if (!answered) {
        breaker_failed(b, now_ms);
    } else if (atomic_load(&s->failures) > 0) {
        const int64_t ms = breaker_open_ms(b, now_ms);
        if (ms > 0)
            atomic_store(&s->since_ms, now_ms);
        if (atomic_exchange(&s->failures, 0) >= BREAKER_FAILURES) {
            atomic_store(&s->probe_ms, 0);
            log_info("store available again after %lld.%03d s",
                     (long long)(ms / 1000), (int)(ms % 1000));
        }
    }
    b->claim = 0;
}
