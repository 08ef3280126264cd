/* When a redirect asks the store, and what it does without an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app.h"
#include "clock.h"
#include "crew.h"
#include "lookup.h"
#include "mapfile.h"

#define OLD "https://example.com/old"
#define NEW "https://example.com/new"

#define CROWD 16

/* The store, for all processes of a case. */
static struct told {
    _Atomic int result, view;
    _Atomic unsigned gets;
    _Atomic unsigned slow_ms; /* before it answers */
    _Atomic unsigned gate, right, failed;
    char long_url[100];
    int64_t ttl;
} * told;

static struct conf *conf;
static struct store store;
static struct app app;

static enum result told_get(struct store *s, const char *short_id,
                            enum store_view view, struct link *out)
{
    atomic_store(&told->view, view);
    atomic_fetch_add(&told->gets, 1);
    crew_sleep_us(atomic_load(&told->slow_ms) * 1000);
    const enum result r = (enum result)atomic_load(&told->result);
    if (r != RESULT_OK)
        return store_fail(s, r, "as told");
    link_set(&out->short_id, short_id);
    link_set(&out->long_url, told->long_url);
    out->ttl = told->ttl != 0 ? told->ttl : 4102444800;
    return RESULT_OK;
}

static const struct store_ops ops = {.name = "told", .get = told_get};

static int set_up(void **state)
{
    int r = crew_set_up(state);
    conf = *state;
    told = crew_share(sizeof(*told));
    snprintf(told->long_url, sizeof(told->long_url), NEW);
    store = (struct store){.ops = &ops, .conf = conf};
    buf_init(&store.error, 100);
    app = (struct app){.conf = conf,
                       .store = &store,
                       .cache = cache_open(conf, &(bool){false})};
    assert_non_null(app.cache);
    return r;
}

static int tear_down(void **state)
{
    cache_close(app.cache);
    buf_free(&store.error);
    return crew_tear_down(state);
}

/* As if the second were over for which a failure counts. */
static void forget_failure(void)
{
    cache_end_flight(app.cache, "id", clock_monotonic_ms(), false);
}

static void plant_entry(int64_t age_ms, bool exists)
{
    struct cache_entry e = {.exists = exists,
                            .ttl = LINK_NEVER,
                            .read_ms = clock_monotonic_ms() - age_ms};
    e.url_len = exists ? strlen(OLD) : 0;
    memcpy(e.url, OLD, e.url_len);
    cache_forget(app.cache, "id");
    forget_failure();
    (void)cache_fill(app.cache, "id", &e, cache_generation(app.cache, "id"));
}

/* An entry with the OLD url that was read so long ago. */
static void plant(int64_t age_ms)
{
    plant_entry(age_ms, true);
}

/* A request of its own, unless it has a deadline already. */
static enum result look_up(struct app *a, struct cache_entry *out)
{
    struct app request = *a;
    if (request.deadline == 0)
        request.deadline =
            clock_monotonic_ms() + (int64_t)conf->store_timeout * 1000;
    return lookup_link(&request, "id", out);
}

/* Looks up; the store was asked so often. */
static void expect(enum result wanted, const char *url, unsigned gets)
{
    struct cache_entry out;
    const unsigned before = atomic_load(&told->gets);
    assert_int_equal(look_up(&app, &out), wanted);
    assert_int_equal(atomic_load(&told->gets) - before, gets);
    if (wanted == RESULT_OK) {
        assert_string_equal(out.url, url);
        assert_int_equal(out.url_len, strlen(url));
    }
}

static void an_unknown_id_is_asked_for_once(void **state)
{
    (void)state;
    struct cache_entry out;
    expect(RESULT_OK, NEW, 1);
    assert_int_equal(told->view, STORE_TARGET);
    assert_int_equal(look_up(&app, &out), RESULT_OK);
    assert_int_equal(out.ttl, 4102444800);
    expect(RESULT_OK, NEW, 0);
    snprintf(told->long_url, sizeof(told->long_url), OLD);
    expect(RESULT_OK, NEW, 0);
    cache_forget(app.cache, "id");
    expect(RESULT_OK, OLD, 1);
}

static void a_fresh_entry_needs_no_store(void **state)
{
    (void)state;
    atomic_store(&told->result, RESULT_UNAVAILABLE);
    plant(0);
    expect(RESULT_OK, OLD, 0);
    plant(47000);
    expect(RESULT_OK, OLD, 0);
}

static void a_due_entry_is_refreshed_by_one(void **state)
{
    (void)state;
    plant(50000);
    assert_int_equal(
        cache_begin_flight(app.cache, "id", clock_monotonic_ms(), 1000),
        CACHE_FLIGHT_MINE);
    expect(RESULT_OK, OLD, 0); /* another one is asking */
    cache_end_flight(app.cache, "id", clock_monotonic_ms(), false);
    expect(RESULT_OK, NEW, 1);
    assert_int_equal(told->view, STORE_REFRESH); /* the old one would do */
    expect(RESULT_OK, NEW, 0);
    /* A store that fails then is no harm, and is left alone for a second. */
    atomic_store(&told->result, RESULT_UNAVAILABLE);
    plant(50000);
    expect(RESULT_OK, OLD, 1);
    expect(RESULT_OK, OLD, 0);
}

static void a_stale_entry_is_not_served_while_the_store_is_there(void **state)
{
    (void)state;
    plant(60000);
    expect(RESULT_OK, NEW, 1);
    plant(80000000);
    expect(RESULT_OK, NEW, 1);
    atomic_store(&told->result, RESULT_NOT_FOUND);
    plant(60000);
    expect(RESULT_NOT_FOUND, NULL, 1);
    expect(RESULT_NOT_FOUND, NULL, 0);
}

static void a_stale_entry_is_served_while_the_store_fails(void **state)
{
    (void)state;
    static const enum result failures[] = {RESULT_UNAVAILABLE, RESULT_THROTTLED,
                                           RESULT_DENIED, RESULT_INTERNAL};
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        atomic_store(&told->result, failures[i]);
        plant(i % 2 == 0 ? 61000 : 86300000);
        expect(RESULT_OK, OLD, 1);
        expect(RESULT_OK, OLD, 0);
        expect(RESULT_OK, OLD, 0);
    }
    crew_sleep_us(1050000); /* then it is asked again, once */
    expect(RESULT_OK, OLD, 1);
    expect(RESULT_OK, OLD, 0);
    atomic_store(&told->result, RESULT_OK);
    crew_sleep_us(1050000);
    expect(RESULT_OK, NEW, 1);
}

static void too_old_is_nothing(void **state)
{
    (void)state;
    atomic_store(&told->result, RESULT_UNAVAILABLE);
    plant(86400000);
    expect(RESULT_UNAVAILABLE, NULL, 1);
    assert_string_equal(store_error(&store), "as told");
    expect(RESULT_UNAVAILABLE, NULL, 0); /* it failed just now */
    assert_true(strlen(store_error(&store)) > 0);
    crew_sleep_us(1050000);
    expect(RESULT_UNAVAILABLE, NULL, 1);
    conf->cache_stale = 0;
    plant(59000);
    expect(RESULT_OK, OLD, 1);
    plant(60000);
    expect(RESULT_UNAVAILABLE, NULL, 1);
}

/* The clock begins again when the machine does, and the file may be on a disk.
 * What it says of the time is worth nothing then. */
static void an_entry_from_before_the_start_is_nothing(void **state)
{
    (void)state;
    plant(-1000);
    expect(RESULT_OK, NEW, 1);
    atomic_store(&told->result, RESULT_UNAVAILABLE);
    plant(-86400000);
    expect(RESULT_UNAVAILABLE, NULL, 1);
}

static void no_such_link_is_known_for_a_short_time(void **state)
{
    (void)state;
    atomic_store(&told->result, RESULT_NOT_FOUND);
    expect(RESULT_NOT_FOUND, NULL, 1);
    expect(RESULT_NOT_FOUND, NULL, 0);
    atomic_store(&told->result, RESULT_OK);
    plant_entry(3000, false);
    expect(RESULT_NOT_FOUND, NULL, 0);
    plant_entry(5000, false);
    expect(RESULT_OK, NEW, 1);
    atomic_store(&told->result, RESULT_UNAVAILABLE);
    plant_entry(4500, false);
    expect(RESULT_NOT_FOUND, NULL, 1);
    plant_entry(6000, false); /* who knows by now */
    expect(RESULT_UNAVAILABLE, NULL, 1);
}

/* CACHE_TTL is what another host's change may take, a new link too. */
static void no_such_link_is_not_known_for_longer_than_a_link(void **state)
{
    (void)state;
    conf->cache_ttl = 2;
    plant_entry(1000, false);
    expect(RESULT_NOT_FOUND, NULL, 0);
    plant_entry(2100, false);
    expect(RESULT_OK, NEW, 1);
}

static void a_damaged_link_is_asked_for_each_second(void **state)
{
    (void)state;
    atomic_store(&told->result, RESULT_CORRUPT);
    plant(70000);
    expect(RESULT_CORRUPT, NULL, 1);
    expect(RESULT_CORRUPT, NULL, 0); /* for a second */
    forget_failure();
    expect(RESULT_CORRUPT, NULL, 1);
    forget_failure();
    atomic_store(&told->result, RESULT_OK);
    snprintf(told->long_url, sizeof(told->long_url), "javascript:alert(1)");
    expect(RESULT_CORRUPT, NULL, 1);
    forget_failure();
    snprintf(told->long_url, sizeof(told->long_url), "http://EXAMPLE.com/a b");
    expect(RESULT_OK, "http://example.com/a%20b", 1);
    expect(RESULT_OK, "http://example.com/a%20b", 0);
}

static void without_a_cache_each_one_asks(void **state)
{
    (void)state;
    struct cache *c = app.cache;
    app.cache = NULL;
    expect(RESULT_OK, NEW, 1);
    expect(RESULT_OK, NEW, 1);
    atomic_store(&told->result, RESULT_UNAVAILABLE);
    expect(RESULT_UNAVAILABLE, NULL, 1);
    app.cache = c;
}

/* ---- Many at once ---------------------------------------------------- */

static void look_up_together(void *arg)
{
    struct app mine = app;
    struct cache_entry out;
    (void)arg;
    mine.cache = cache_open(conf, &(bool){false});
    crew_meet(&told->gate, CROWD);
    const enum result r = look_up(&mine, &out);
    const enum result wanted = (enum result)atomic_load(&told->result);
    if (r == RESULT_OK && strcmp(out.url, NEW) != 0 && strcmp(out.url, OLD))
        _exit(1);
    atomic_fetch_add(r == wanted ? &told->right : &told->failed, 1);
}

/* So many look for the id at once. Returns how long that took. */
static int64_t crowd(void)
{
    pid_t children[CROWD];
    const int64_t begun = clock_monotonic_ms();
    atomic_store(&told->gate, 0);
    atomic_store(&told->gets, 0);
    atomic_store(&told->right, 0);
    for (unsigned i = 0; i < CROWD; i++)
        children[i] = crew_start(look_up_together, NULL);
    for (unsigned i = 0; i < CROWD; i++)
        crew_finish(children[i]);
    return clock_monotonic_ms() - begun;
}

static void many_who_want_one_id_ask_once(void **state)
{
    (void)state;
    atomic_store(&told->slow_ms, 60);
    for (unsigned round = 0; round < 4; round++) {
        atomic_store(&told->result,
                     round % 2 == 0 ? RESULT_OK : RESULT_NOT_FOUND);
        cache_forget(app.cache, "id");
        (void)crowd();
        assert_int_equal(atomic_load(&told->gets), 1);
        assert_int_equal(atomic_load(&told->right), CROWD);
    }
    atomic_store(&told->result, RESULT_OK);
    plant(70000);
    (void)crowd();
    assert_int_equal(atomic_load(&told->gets), 1);
    assert_int_equal(atomic_load(&told->right), CROWD);
}

static void lead_and_sleep(void *arg)
{
    (void)arg;
    if (cache_begin_flight(app.cache, "id", clock_monotonic_ms(), 1000) !=
        CACHE_FLIGHT_MINE)
        _exit(1);
    atomic_store(&told->gate, 1);
    crew_sleep_us(10000000);
}

static void a_killed_leader_is_replaced(void **state)
{
    (void)state;
    pid_t leader = crew_start(lead_and_sleep, NULL);
    while (atomic_load(&told->gate) == 0)
        crew_sleep_us(1000);
    crew_slay(leader);
    assert_true(crowd() < 3000);
    assert_int_equal(atomic_load(&told->right), CROWD);
    assert_int_equal(atomic_load(&told->gets), 1);
}

/* Its time is bounded by its own request, which began at the same moment. */
static void lookup_behind_a_killed_leader_is_answered_in_time(void **state)
{
    (void)state;
    struct cache_entry out;
    pid_t leader = crew_start(lead_and_sleep, NULL);
    while (atomic_load(&told->gate) == 0)
        crew_sleep_us(1000);
    crew_slay(leader);
    app.deadline = clock_monotonic_ms() + (int64_t)conf->store_timeout * 1000;
    assert_int_equal(look_up(&app, &out), RESULT_OK);
    assert_true(clock_monotonic_ms() < app.deadline);
}

/* A store that hangs costs each one who waits STORE_TIMEOUT, and not one after
 * the other: that is one second here. */
static void many_wait_for_a_hanging_store_at_once(void **state)
{
    (void)state;
    atomic_store(&told->result, RESULT_UNAVAILABLE);
    atomic_store(&told->slow_ms, 1000);
    assert_true(crowd() < 3000);
    assert_int_equal(atomic_load(&told->right), CROWD);
}

/* While it hangs, known links are served; one reader at a time finds out
 * whether it still does, and the others do not wait for that. */
static void a_hanging_store_holds_up_one_reader_of_a_known_link(void **state)
{
    (void)state;
    atomic_store(&told->result, RESULT_UNAVAILABLE);
    plant(70000);
    expect(RESULT_OK, OLD, 1);
    crew_sleep_us(1050000);
    assert_int_equal(
        cache_begin_flight(app.cache, "id", clock_monotonic_ms(), 1000),
        CACHE_FLIGHT_MINE);
    const int64_t begun = clock_monotonic_ms();
    expect(RESULT_OK, OLD, 0);
    assert_true(clock_monotonic_ms() - begun < 500);
    cache_end_flight(app.cache, "id", clock_monotonic_ms(), false);
}

static void hold_the_lock(void *arg)
{
    (void)arg;
    struct mapfile m = {.fd =
                            open(crew_path(conf, "cache"), O_RDWR | O_CLOEXEC)};
    if (m.fd < 0 || !mapfile_lock(&m, 1000000))
        _exit(1);
    atomic_store(&told->gate, 1);
    crew_sleep_us(30000000);
}

/* So they do not become leaders one after another. */
static void lookup_waiters_share_what_is_not_in_the_cache(void **state)
{
    (void)state;
    atomic_store(&told->slow_ms, 300);
    atomic_store(&told->result, RESULT_CORRUPT);
    assert_true(crowd() < CROWD / 2 * 300);
    assert_int_equal(atomic_load(&told->gets), 1);
    assert_int_equal(atomic_load(&told->right), CROWD);

    /* The answer could not be put into the cache: all query at once. */
    forget_failure();
    atomic_store(&told->result, RESULT_OK);
    atomic_store(&told->gate, 0);
    pid_t holder = crew_start(hold_the_lock, NULL);
    while (atomic_load(&told->gate) == 0)
        crew_sleep_us(1000);
    assert_true(crowd() < CROWD / 2 * 300);
    assert_int_equal(atomic_load(&told->right), CROWD);
    crew_slay(holder);
}

static void lookup_waiter_has_the_deadline_of_its_request(void **state)
{
    (void)state;
    const int64_t begun = clock_monotonic_ms();
    assert_int_equal(cache_begin_flight(app.cache, "id", begun, 1000),
                     CACHE_FLIGHT_MINE);
    app.deadline = begun + 200;
    conf->store_timeout = 60;
    expect(RESULT_UNAVAILABLE, NULL, 0);
    assert_in_range(clock_monotonic_ms() - begun, 200, 2000);
    assert_true(strlen(store_error(&store)) > 0);
    /* Without time left it is not waited for, and what is known will do. */
    plant(70000);
    assert_int_equal(
        cache_begin_flight(app.cache, "id", clock_monotonic_ms(), 1000),
        CACHE_FLIGHT_MINE);
    expect(RESULT_OK, OLD, 0);
}

/* The clock may go back, and then it is served. */
static void lookup_expired_link_has_its_url(void **state)
{
    (void)state;
    struct cache_entry out;
    told->ttl = 1;
    expect(RESULT_OK, NEW, 1);
    expect(RESULT_OK, NEW, 0);
    assert_true(cache_get(app.cache, "id", &out));
    assert_int_equal(out.ttl, 1);
    /* That it has expired decides first. */
    snprintf(told->long_url, sizeof(told->long_url), "javascript:alert(1)");
    cache_forget(app.cache, "id");
    expect(RESULT_OK, "", 1);
    expect(RESULT_OK, "", 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_unknown_id_is_asked_for_once),
        TEST(a_fresh_entry_needs_no_store),
        TEST(a_due_entry_is_refreshed_by_one),
        TEST(a_stale_entry_is_not_served_while_the_store_is_there),
        TEST(a_stale_entry_is_served_while_the_store_fails),
        TEST(too_old_is_nothing),
        TEST(an_entry_from_before_the_start_is_nothing),
        TEST(no_such_link_is_known_for_a_short_time),
        TEST(no_such_link_is_not_known_for_longer_than_a_link),
        TEST(a_damaged_link_is_asked_for_each_second),
        TEST(without_a_cache_each_one_asks),
        TEST(many_who_want_one_id_ask_once),
        TEST(a_killed_leader_is_replaced),
        TEST(lookup_behind_a_killed_leader_is_answered_in_time),
        TEST(many_wait_for_a_hanging_store_at_once),
        TEST(a_hanging_store_holds_up_one_reader_of_a_known_link),
        TEST(lookup_waiters_share_what_is_not_in_the_cache),
        TEST(lookup_waiter_has_the_deadline_of_its_request),
        TEST(lookup_expired_link_has_its_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
