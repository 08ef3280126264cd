#include "circuit.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "jitter.h"
#include "log.h"
#include "mapfile.h"
#include "mem.h"

#define VERSION 1
#define NAME    "circuit"

/* The word, from its lowest bit: what the circuit is; how many calls failed in
 * a row (closed), or how many probes did (open, probing); when it opened or
 * closed; until when nobody but the probe may call. All zeros: closed, and
 * nothing failed yet. */
enum { CLOSED, OPEN, PROBING };
#define KIND_BITS  2
#define COUNT_BITS 4
#define SINCE_BITS 38
#define UNTIL_BITS 20

#define COUNT_SHIFT KIND_BITS
#define SINCE_SHIFT (COUNT_SHIFT + COUNT_BITS)
#define UNTIL_SHIFT (SINCE_SHIFT + SINCE_BITS)
_Static_assert(UNTIL_SHIFT + UNTIL_BITS == 64, "the word is full");

#define MASK(bits) ((UINT64_C(1) << (bits)) - 1)

/* Less than half of what UNTIL_BITS count. */
#define PROBE_MAX_MS 500000

/* Of no period: nothing that is told counts. */
#define NO_PERIOD UINT64_MAX

struct shared {
    struct mapfile_header header;
    _Alignas(64) _Atomic uint64_t word; /* on a cache line of its own */
};

struct circuit {
    struct mapfile file;
    _Atomic uint64_t *word; /* in the file, or own */
    _Atomic uint64_t own;
    /* Of the last call that got leave: the word that made it the probe, or 0;
     * when the period began in which it was given. */
    uint64_t probe;
    uint64_t period;
};

/* ---- The word -------------------------------------------------------- */

static uint64_t make_word(unsigned kind, unsigned count, uint64_t since,
                          uint64_t until)
{
    return kind | (uint64_t)count << COUNT_SHIFT |
           (since & MASK(SINCE_BITS)) << SINCE_SHIFT | until << UNTIL_SHIFT;
}

static unsigned kind_of(uint64_t word)
{
    return (unsigned)(word & MASK(KIND_BITS));
}

static unsigned count_of(uint64_t word)
{
    return (unsigned)(word >> COUNT_SHIFT & MASK(COUNT_BITS));
}

static uint64_t since_of(uint64_t word)
{
    return word >> SINCE_SHIFT & MASK(SINCE_BITS);
}

/* How long ago the period began. Others may have looked at the clock later than
 * the caller: then it is no time ago. */
static int64_t age_of(uint64_t word, int64_t now_ms)
{
    uint64_t age = ((uint64_t)now_ms - since_of(word)) & MASK(SINCE_BITS);
    return age < MASK(SINCE_BITS - 1) ? (int64_t)age : 0;
}

/* How long it is until the word's time is over; more than most it cannot be, so
 * then it is over. */
static int64_t left_of(uint64_t word, int64_t now_ms, int64_t most)
{
    int64_t left = (int64_t)(((word >> UNTIL_SHIFT) - (uint64_t)now_ms) &
                             MASK(UNTIL_BITS));
    return left <= most ? left : 0;
}

/* ---- Opening the file ------------------------------------------------ */

struct circuit *circuit_open(const struct conf *conf, uint64_t owner)
{
    struct circuit *c = mem_zalloc(sizeof(*c));
    const struct mapfile_kind kind = {
        .header = {.magic = "curtcir",
                   .version = VERSION,
                   .header_size = offsetof(struct shared, word),
                   .size = sizeof(struct shared),
                   /* The times are of a clock that a boot starts over. */
                   .owner = owner ^ mapfile_boot()}};
    const char *reason = "";
    c->period = NO_PERIOD;
    c->word = &c->own;
    if (mapfile_open(conf->runtime_dir, NAME, &kind, &c->file, &reason) ==
        RESULT_OK) {
        struct shared *shared = c->file.base;
        c->word = &shared->word;
    } else {
        log_warning("%s/" NAME ": %s; circuit state not shared between "
                    "processes",
                    conf->runtime_dir, reason);
    }
    return c;
}

void circuit_close(struct circuit *c)
{
    if (c == NULL)
        return;
    mapfile_close(&c->file);
    free(c);
}

/* ---- Leave ----------------------------------------------------------- */

/* The time to stay open after so many probes have failed: half of it to all of
 * it. */
static uint64_t draw_open_ms(unsigned probes)
{
    uint64_t ms = CIRCUIT_OPEN_MS;
    for (; probes > 0 && ms < CIRCUIT_OPEN_MAX_MS; probes--)
        ms *= 2;
    if (ms > CIRCUIT_OPEN_MAX_MS)
        ms = CIRCUIT_OPEN_MAX_MS;
    return ms / 2 + ((ms - ms / 2 + 1) * jitter_bits() >> 32);
}

enum circuit_leave circuit_ask(struct circuit *c, int64_t now_ms,
                               int64_t probe_ms, int64_t *wait_ms)
{
    *wait_ms = 1;
    if (c == NULL)
        return CIRCUIT_GO;
    if (probe_ms < 1)
        probe_ms = 1;
    if (probe_ms > PROBE_MAX_MS)
        probe_ms = PROBE_MAX_MS;
    uint64_t word = atomic_load(c->word), probe;
    do {
        if (kind_of(word) == CLOSED) {
            c->probe = 0;
            c->period = since_of(word);
            return CIRCUIT_GO;
        }
        const int64_t left =
            left_of(word, now_ms,
                    kind_of(word) == OPEN ? CIRCUIT_OPEN_MAX_MS : probe_ms);
        if (left > 0 && word != c->probe) {
            c->probe = 0;
            c->period = NO_PERIOD;
            *wait_ms = left;
            return CIRCUIT_WAIT;
        }
        probe = make_word(PROBING, count_of(word), since_of(word),
                          (uint64_t)now_ms + (uint64_t)probe_ms);
    } while (!atomic_compare_exchange_weak(c->word, &word, probe));
    c->probe = probe;
    c->period = NO_PERIOD;
    return CIRCUIT_PROBE;
}

/* ---- Outcomes -------------------------------------------------------- */

/* The word is the probe's own as long as it has not been given up. */
static void tell_probe(struct circuit *c, int64_t now_ms, bool answered)
{
    uint64_t probe = c->probe;
    c->probe = 0;
    const uint64_t now = (uint64_t)now_ms;
    if (answered) {
        if (!atomic_compare_exchange_strong(c->word, &probe,
                                            make_word(CLOSED, 0, now, 0)))
            return;
        const int64_t ms = age_of(probe, now_ms);
        log_info("the store answers again; it was away for %lld.%03d s",
                 (long long)(ms / 1000), (int)(ms % 1000));
        return;
    }
    unsigned probes = count_of(probe);
    if (probes < MASK(COUNT_BITS))
        probes++;
    /* If it fails, another probe decides. */
    atomic_compare_exchange_strong(
        c->word, &probe,
        make_word(OPEN, probes, since_of(probe), now + draw_open_ms(probes)));
}

static void tell_call(struct circuit *c, int64_t now_ms, bool answered)
{
    uint64_t word = atomic_load(c->word), next;
    do {
        const unsigned failed = count_of(word);
        if (kind_of(word) != CLOSED || since_of(word) != c->period ||
            (answered && failed == 0))
            return;
        if (answered)
            next = make_word(CLOSED, 0, c->period, 0);
        else if (failed + 1 < CIRCUIT_FAILURES)
            next = make_word(CLOSED, failed + 1, c->period, 0);
        else
            next = make_word(OPEN, 0, (uint64_t)now_ms,
                             (uint64_t)now_ms + draw_open_ms(0));
    } while (!atomic_compare_exchange_weak(c->word, &word, next));
    if (kind_of(next) == OPEN)
        log_warning("the store does not answer; until it does, calls to it "
                    "fail at once");
}

void circuit_tell(struct circuit *c, int64_t now_ms, bool answered)
{
    if (c == NULL)
        return;
    if (c->probe != 0)
        tell_probe(c, now_ms, answered);
    else if (c->period != NO_PERIOD)
        tell_call(c, now_ms, answered);
}

int64_t circuit_open_since(const struct circuit *c, int64_t now_ms)
{
    if (c == NULL)
        return 0;
    const uint64_t word = atomic_load(c->word);
    if (kind_of(word) == CLOSED)
        return 0;
    const int64_t age = age_of(word, now_ms);
    return age > 0 ? age : 1;
}
