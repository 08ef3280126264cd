/* Who asks the store for an id that the cache does not have. */
#include "test.h"

#include <stdatomic.h>

#include "processes.h"
#include "service/cache.h"

#define CROWD  4
#define ROUNDS 2000

static struct conf *conf;
static struct {
    _Atomic unsigned gate;
    _Atomic unsigned leaders;
} * shared;

static int set_up(void **state)
{
    int r = temp_conf_set_up(state);
    conf = *state;
    shared = share_memory(sizeof(*shared));
    return r;
}

EACH_TEST(set_up, temp_conf_tear_down)

static struct cache *open_cache(void)
{
    struct cache *c = cache_open(conf, &(bool){false});
    assert_non_null(c);
    return c;
}

static void begin_together(void *arg)
{
    struct cache *c = open_cache();
    (void)arg;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        char id[20];
        snprintf(id, sizeof(id), "id%u", round);
        process_barrier(&shared->gate, round * CROWD);
        /* Who looked at the clock earlier may come later. */
        const int64_t now_ms = 100000 + (round % 2 ? 0 : random_below(4));
        if (cache_begin_flight(c, id, now_ms, 5000) == CACHE_FLIGHT_MINE)
            atomic_fetch_add(&shared->leaders, 1);
    }
    cache_close(c);
}

TEST(one_process_asks_for_an_id)
{
    pid_t children[CROWD];
    for (unsigned i = 0; i < CROWD; i++)
        children[i] = process_start(begin_together, NULL);
    for (unsigned i = 0; i < CROWD; i++)
        process_wait(children[i]);
    assert_int_equal(atomic_load(&shared->leaders), ROUNDS);
}

/* Begins a flight at a time; max_ms is 3,000. */
static enum cache_flight begin(struct cache *c, int64_t now_ms)
{
    return cache_begin_flight(c, "id", now_ms, 3000);
}

TEST(a_flight_ends_or_is_taken_over)
{
    struct cache *c = open_cache(), *other = open_cache();
    /* Across the end of 32 bits of milliseconds, too. */
    for (int64_t t = 10000; t < 8589934592; t = t * 2 + 4294967 % t) {
        assert_int_equal(begin(c, t), CACHE_FLIGHT_MINE);
        assert_int_equal(begin(other, t), CACHE_FLIGHT_OTHERS);
        assert_int_equal(begin(other, t + 2990), CACHE_FLIGHT_OTHERS);
        cache_end_flight(c, "id", t + 2, false);
        assert_int_equal(begin(other, t + 5), CACHE_FLIGHT_MINE);
        /* That one is never heard of again. */
        assert_int_equal(begin(c, t + 3000), CACHE_FLIGHT_OTHERS);
        assert_int_equal(begin(c, t + 3010), CACHE_FLIGHT_MINE);
        assert_int_equal(begin(other, t + 3010), CACHE_FLIGHT_OTHERS);
        cache_end_flight(c, "id", t + 3010, false);
    }
    cache_close(c);
    cache_close(other);
}

/* Those who wait hear of it, however soon they look, and for a second. */
TEST(a_flight_that_failed_is_known_to_have_failed)
{
    struct cache *c = open_cache();
    for (int64_t t = 10000; t < 8589934592; t = t * 2 + 4294967 % t) {
        for (int64_t end = t; end < t + 4; end++) {
            assert_int_equal(begin(c, end), CACHE_FLIGHT_MINE);
            cache_end_flight(c, "id", end, true);
            assert_int_equal(begin(c, end - 1), CACHE_FLIGHT_FAILED);
            assert_int_equal(begin(c, end), CACHE_FLIGHT_FAILED);
            assert_int_equal(begin(c, end + 1), CACHE_FLIGHT_FAILED);
            assert_int_equal(begin(c, end + 990), CACHE_FLIGHT_FAILED);
            assert_int_equal(begin(c, end + 1010), CACHE_FLIGHT_MINE);
            cache_end_flight(c, "id", end + 1010, false);
        }
    }
    cache_close(c);
}

/* Until a query succeeds, those that follow are marked: a reader with an old
 * entry does not wait for them. */
TEST(a_flight_after_a_failed_one_is_marked)
{
    struct cache *c = open_cache();
    assert_int_equal(begin(c, 10000), CACHE_FLIGHT_MINE);
    cache_end_flight(c, "id", 10010, CACHE_FLIGHT_FAILED);
    assert_int_equal(begin(c, 12000), CACHE_FLIGHT_MINE);
    assert_int_equal(begin(c, 12100), CACHE_FLIGHT_RETRY);
    /* Its process was killed. */
    assert_int_equal(begin(c, 16000), CACHE_FLIGHT_MINE);
    assert_int_equal(begin(c, 16100), CACHE_FLIGHT_RETRY);
    cache_end_flight(c, "id", 16200, CACHE_FLIGHT_MINE);
    assert_int_equal(begin(c, 16300), CACHE_FLIGHT_MINE);
    assert_int_equal(begin(c, 16400), CACHE_FLIGHT_OTHERS);
    cache_close(c);
}

/* A clock that was read before the leader's is no clock that is 49 days
 * ahead. */
TEST(who_looked_at_the_clock_earlier_leads_not)
{
    struct cache *c = open_cache();
    assert_int_equal(begin(c, 5000), CACHE_FLIGHT_MINE);
    assert_int_equal(begin(c, 4999), CACHE_FLIGHT_OTHERS);
    assert_int_equal(begin(c, 4000), CACHE_FLIGHT_OTHERS);
    /* Of a month ago: whoever that was is not in the air any more. */
    assert_int_equal(begin(c, 5000 + 30 * 86400000LL), CACHE_FLIGHT_MINE);
    cache_close(c);
}

TEST(flights_of_different_ids_are_different)
{
    struct cache *c = open_cache();
    char id[20];
    for (int i = 0; i < 10000; i++) {
        snprintf(id, sizeof(id), "id%d", i);
        assert_int_equal(cache_begin_flight(c, id, 1000, 3000),
                         CACHE_FLIGHT_MINE);
    }
    cache_close(c);
}
