#include "hits_ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"

struct ledger *ledger;
struct conf *ledger_conf;
struct store ledger_store;
char ledger_ids[LINKS][IDS_MAX + 1];

static unsigned link_of(const char *id)
{
    for (unsigned i = 0; i < LINKS; i++)
        if (strcmp(ledger_ids[i], id) == 0)
            return i;
    fprintf(stderr, "nobody knows the link \"%s\"\n", id);
    abort();
}

static enum result apply(unsigned link, uint64_t n, uint64_t seq)
{
    struct row *row = &ledger->rows[link];
    const unsigned old = atomic_load(&row->in_force);
    if (atomic_load(&ledger->gone[link]))
        return RESULT_NOT_FOUND;
    if (row->both[old].seq >= seq)
        return RESULT_CONFLICT;
    row->both[!old].hits = row->both[old].hits + n;
    row->both[!old].seq = seq;
    atomic_store(&row->in_force, !old);
    return RESULT_OK;
}

static int choose_trouble(void)
{
    static const int kinds[] = {RESULT_UNAVAILABLE, RESULT_THROTTLED,
                                UNKNOWN_NOT_APPLIED, UNKNOWN_APPLIED,
                                UNKNOWN_APPLIED};
    if (crew_random(100) >= atomic_load(&ledger->trouble))
        return APPLY;
    atomic_fetch_add(&ledger->faults, 1);
    return kinds[crew_random(5)];
}

static enum result add_hits(struct store *s, const char *short_id, uint64_t n,
                            const struct store_flush *flush)
{
    (void)s;
    const unsigned link = link_of(short_id);
    atomic_fetch_add(&ledger->sendings, 1);
    if (strlen(flush->node) != STORE_NODE_SIZE - 1 || n == 0)
        abort();
    memcpy(ledger->node, flush->node, STORE_NODE_SIZE);
    if (atomic_load(&ledger->refused[link]))
        return RESULT_UNAVAILABLE;
    int what = atomic_exchange(&ledger->next, 0);
    if (what == 0)
        what = choose_trouble();
    if (what == APPLY)
        return apply(link, n, flush->seq);
    if (what == UNKNOWN_APPLIED) {
        (void)apply(link, n, flush->seq);
        what = RESULT_UNKNOWN;
    } else if (what == UNKNOWN_NOT_APPLIED) {
        what = RESULT_UNKNOWN;
    }
    return (enum result)what;
}

static const struct store_ops ops = {.name = "ledger", .add_hits = add_hits};

void ledger_choose_ids(void)
{
    unsigned found = 0;
    for (unsigned long n = 0; found < LINKS; n++) {
        char id[IDS_MAX + 1];
        snprintf(id, sizeof(id), "id%lu", n);
        if (hash_text(id) % SLOTS < 9)
            memcpy(ledger_ids[found++], id, sizeof(id));
    }
}

int ledger_set_up(void **state)
{
    int r = crew_set_up(state);
    ledger_conf = *state;
    ledger = crew_share(sizeof(*ledger));
    ledger_store = (struct store){.ops = &ops, .conf = ledger_conf};
    buf_init(&ledger_store.error, 100);
    if (ledger_ids[0][0] == '\0')
        ledger_choose_ids();
    return r;
}

int ledger_tear_down(void **state)
{
    buf_free(&ledger_store.error);
    return crew_tear_down(state);
}

struct hits *ledger_open(void)
{
    struct hits *h = hits_open(ledger_conf, &(bool){false});
    assert_non_null(h);
    return h;
}

uint64_t ledger_stored(unsigned link)
{
    const struct row *row = &ledger->rows[link];
    return row->both[atomic_load(&row->in_force)].hits;
}

_Atomic int64_t *ledger_unlimited(void)
{
    static _Atomic int64_t left;
    left = INT64_MAX;
    return &left;
}

struct hits_flushed ledger_flush(struct hits *h)
{
    struct hits_flushed out;
    const char *reason;
    assert_true(hits_begin_flush(h, 0, 1, &reason));
    hits_flush(h, &ledger_store, 0, 1, ledger_unlimited(), &out);
    return out;
}

uint64_t ledger_pending(struct hits *h)
{
    uint64_t hits, links;
    hits_pending_all(h, &hits, &links);
    return hits;
}

void ledger_count(struct hits *h, unsigned link, unsigned n)
{
    while (n-- > 0)
        assert_true(hits_count(h, ledger_ids[link]));
}
