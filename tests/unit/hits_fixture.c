#include "hits_fixture.h"

#include "base/text.h"
#include "test.h"

struct fake_table *fake_table;
struct conf *hits_conf;
struct store hits_store;
char link_ids[LINKS][IDS_MAX + 1];

static unsigned link_of(const char *id)
{
    for (unsigned i = 0; i < LINKS; i++)
        if (strcmp(link_ids[i], id) == 0)
            return i;
    fprintf(stderr, "unknown link \"%s\"\n", id);
    abort();
}

static enum result apply(unsigned link, uint64_t n, uint64_t seq)
{
    struct row *row = &fake_table->rows[link];
    const unsigned old = atomic_load(&row->current);
    if (atomic_load(&fake_table->gone[link]))
        return RESULT_NOT_FOUND;
    if (row->both[old].seq >= seq)
        return RESULT_CONFLICT;
    row->both[!old].hits = row->both[old].hits + n;
    row->both[!old].seq = seq;
    atomic_store(&row->current, !old);
    return RESULT_OK;
}

static int choose_trouble(void)
{
    static const int kinds[] = {RESULT_UNAVAILABLE, RESULT_THROTTLED,
                                UNKNOWN_NOT_APPLIED, UNKNOWN_APPLIED,
                                UNKNOWN_APPLIED};
    if (random_below(100) >= atomic_load(&fake_table->trouble))
        return APPLY;
    atomic_fetch_add(&fake_table->faults, 1);
    return kinds[random_below(5)];
}

static enum result add_hits(struct store *s, const char *short_id, uint64_t n,
                            const struct store_flush *flush)
{
    (void)s;
    const unsigned link = link_of(short_id);
    atomic_fetch_add(&fake_table->sendings, 1);
    if (strlen(flush->node) != STORE_NODE_SIZE - 1 || n == 0)
        abort();
    memcpy(fake_table->node, flush->node, STORE_NODE_SIZE);
    if (atomic_load(&fake_table->refused[link]))
        return RESULT_UNAVAILABLE;
    int what = atomic_exchange(&fake_table->next, 0);
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

static const struct store_ops ops = {.name = "fake_table",
                                     .add_hits = add_hits};

void choose_link_ids(void)
{
    unsigned found = 0;
    for (unsigned long n = 0; found < LINKS; n++) {
        char id[IDS_MAX + 1];
        snprintf(id, sizeof(id), "id%lu", n);
        if (text_hash(id) % SLOTS < 9)
            memcpy(link_ids[found++], id, sizeof(id));
    }
}

int hits_set_up(void **state)
{
    int r = temp_conf_set_up(state);
    hits_conf = *state;
    fake_table = share_memory(sizeof(*fake_table));
    hits_store = (struct store){.ops = &ops, .conf = hits_conf};
    buf_init(&hits_store.error, 100);
    if (link_ids[0][0] == '\0')
        choose_link_ids();
    return r;
}

int hits_tear_down(void **state)
{
    buf_free(&hits_store.error);
    return temp_conf_tear_down(state);
}

struct hits *open_journal(void)
{
    struct hits *h = hits_open(hits_conf, &(bool){false});
    assert_non_null(h);
    return h;
}

uint64_t stored_hits(unsigned link)
{
    const struct row *row = &fake_table->rows[link];
    return row->both[atomic_load(&row->current)].hits;
}

_Atomic int64_t *unlimited(void)
{
    static _Atomic int64_t left;
    left = INT64_MAX;
    return &left;
}

struct hits_flushed flush_journal(struct hits *h)
{
    struct hits_flushed out;
    const char *reason;
    assert_true(hits_begin_flush(h, 0, 1, &reason));
    hits_flush(h, &hits_store, 0, 1, unlimited(), &out);
    return out;
}

uint64_t pending_hits(struct hits *h)
{
    uint64_t hits, links;
    hits_pending_all(h, &hits, &links);
    return hits;
}

void count_hits(struct hits *h, unsigned link, unsigned n)
{
    while (n-- > 0)
        assert_true(hits_count(h, link_ids[link]));
}
