/* When a redirect asks the store, and what it does without an answer. */
#include "test.h"

#include <fcntl.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/mapfile.h"
#include "processes.h"
#include "service/app.h"
#include "service/lookup.h"

#define OLD "https://example.com/old"
#define NEW "https://example.com/new"

#define CROWD 16

/* The store, for all processes of a case. */
static struct shared_store {
    _Atomic int result, view;
    _Atomic unsigned gets;
    _Atomic unsigned slow_ms; /* before it answers */
    _Atomic unsigned joint;   /* all but the first wait for so many queries */
    _Atomic unsigned gate, right, failed;
    char long_url[100];
    int64_t ttl;
} * shared;

static struct conf *conf;
static struct store store;
static struct app app;

static enum result fake_get(struct store *s, const char *short_id,
                            enum store_view view, struct link *out)
{
    atomic_store(&shared->view, view);
    const unsigned n = atomic_fetch_add(&shared->gets, 1);
    sleep_us(atomic_load(&shared->slow_ms) * 1000);
    while (n > 0 && atomic_load(&shared->gets) < atomic_load(&shared->joint))
        sleep_us(1000);
    const enum result r = (enum result)atomic_load(&shared->result);
    if (r != RESULT_OK)
        return store_fail(s, r, "as told");
    link_set(&out->short_id, short_id);
    link_set(&out->long_url, shared->long_url);
    out->ttl = shared->ttl != 0 ? shared->ttl : 4102444800;
    return RESULT_OK;
}

static const struct store_ops ops = {.name = "told", .get = fake_get};

static int set_up(void **state)
{
    int r = temp_conf_set_up(state);
    conf = *state;
    shared = share_memory(sizeof(*shared));
    snprintf(shared->long_url, sizeof(shared->long_url), NEW);
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
    return temp_conf_tear_down(state);
}

EACH_TEST(set_up, tear_down)

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
    return lookup_entry(&request, "id", out);
}

/* Looks up; the store was asked so often. */
static void expect(enum result wanted, const char *url, unsigned gets)
{
    struct cache_entry out;
    const unsigned before = atomic_load(&shared->gets);
    assert_int_equal(look_up(&app, &out), wanted);
    assert_int_equal(atomic_load(&shared->gets) - before, gets);
    if (wanted == RESULT_OK) {
        assert_string_equal(out.url, url);
        assert_int_equal(out.url_len, strlen(url));
    }
}

TEST(an_unknown_id_is_asked_for_once)
{
    struct cache_entry out;
    expect(RESULT_OK, NEW, 1);
    assert_int_equal(shared->view, STORE_TARGET);
    assert_int_equal(look_up(&app, &out), RESULT_OK);
    assert_int_equal(out.ttl, 4102444800);
    expect(RESULT_OK, NEW, 0);
    snprintf(shared->long_url, sizeof(shared->long_url), OLD);
    expect(RESULT_OK, NEW, 0);
    cache_forget(app.cache, "id");
    expect(RESULT_OK, OLD, 1);
}

TEST(a_fresh_entry_needs_no_store)
{
    atomic_store(&shared->result, RESULT_UNAVAILABLE);
    plant(0);
    expect(RESULT_OK, OLD, 0);
    plant(47000);
    expect(RESULT_OK, OLD, 0);
}

TEST(a_due_entry_is_refreshed_by_one)
{
    plant(50000);
    assert_int_equal(
        cache_begin_flight(app.cache, "id", clock_monotonic_ms(), 1000),
        CACHE_FLIGHT_MINE);
    expect(RESULT_OK, OLD, 0); /* another one is asking */
    cache_end_flight(app.cache, "id", clock_monotonic_ms(), false);
    expect(RESULT_OK, NEW, 1);
    assert_int_equal(shared->view, STORE_REFRESH); /* the old one would do */
    expect(RESULT_OK, NEW, 0);
    /* A store that fails then is no harm, and is left alone for a second. */
    atomic_store(&shared->result, RESULT_UNAVAILABLE);
    plant(50000);
    expect(RESULT_OK, OLD, 1);
    expect(RESULT_OK, OLD, 0);
}

TEST(a_stale_entry_is_not_served_while_the_store_is_there)
{
    plant(60000);
    expect(RESULT_OK, NEW, 1);
    plant(80000000);
    expect(RESULT_OK, NEW, 1);
    atomic_store(&shared->result, RESULT_NOT_FOUND);
    plant(60000);
    expect(RESULT_NOT_FOUND, NULL, 1);
    expect(RESULT_NOT_FOUND, NULL, 0);
}

TEST(a_stale_entry_is_served_while_the_store_fails)
{
    static const enum result failures[] = {RESULT_UNAVAILABLE, RESULT_THROTTLED,
                                           RESULT_DENIED, RESULT_INTERNAL};
    for (size_t i = 0; i < COUNT(failures); i++) {
        atomic_store(&shared->result, failures[i]);
        plant(i % 2 == 0 ? 61000 : 86300000);
        expect(RESULT_OK, OLD, 1);
        expect(RESULT_OK, OLD, 0);
        expect(RESULT_OK, OLD, 0);
    }
    sleep_us(1050000); /* then it is asked again, once */
    expect(RESULT_OK, OLD, 1);
    expect(RESULT_OK, OLD, 0);
    atomic_store(&shared->result, RESULT_OK);
    sleep_us(1050000);
    expect(RESULT_OK, NEW, 1);
}

TEST(too_old_is_nothing)
{
    atomic_store(&shared->result, RESULT_UNAVAILABLE);
    plant(86400000);
    expect(RESULT_UNAVAILABLE, NULL, 1);
    assert_string_equal(store_error(&store), "as told");
    expect(RESULT_UNAVAILABLE, NULL, 0); /* it failed just now */
    assert_true(strlen(store_error(&store)) > 0);
    sleep_us(1050000);
    expect(RESULT_UNAVAILABLE, NULL, 1);
    conf->cache_stale = 0;
    plant(59000);
    expect(RESULT_OK, OLD, 1);
    plant(60000);
    expect(RESULT_UNAVAILABLE, NULL, 1);
}

/* The clock begins again when the machine does, and the file may be on a disk.
 * What it says of the time is worth nothing then. */
TEST(an_entry_from_before_the_start_is_nothing)
{
    plant(-1000);
    expect(RESULT_OK, NEW, 1);
    atomic_store(&shared->result, RESULT_UNAVAILABLE);
    plant(-86400000);
    expect(RESULT_UNAVAILABLE, NULL, 1);
}

TEST(no_such_link_is_known_for_a_short_time)
{
    atomic_store(&shared->result, RESULT_NOT_FOUND);
    expect(RESULT_NOT_FOUND, NULL, 1);
    expect(RESULT_NOT_FOUND, NULL, 0);
    atomic_store(&shared->result, RESULT_OK);
    plant_entry(3000, false);
    expect(RESULT_NOT_FOUND, NULL, 0);
    plant_entry(5000, false);
    expect(RESULT_OK, NEW, 1);
    atomic_store(&shared->result, RESULT_UNAVAILABLE);
    plant_entry(4500, false);
    expect(RESULT_NOT_FOUND, NULL, 1);
    plant_entry(6000, false); /* who knows by now */
    expect(RESULT_UNAVAILABLE, NULL, 1);
}

/* CACHE_TTL is what another host's change may take, a new link too. */
TEST(no_such_link_is_not_known_for_longer_than_a_link)
{
    conf->cache_ttl = 2;
    plant_entry(1000, false);
    expect(RESULT_NOT_FOUND, NULL, 0);
    plant_entry(2100, false);
    expect(RESULT_OK, NEW, 1);
}

TEST(a_damaged_link_is_asked_for_each_second)
{
    atomic_store(&shared->result, RESULT_CORRUPT);
    plant(70000);
    expect(RESULT_CORRUPT, NULL, 1);
    expect(RESULT_CORRUPT, NULL, 0); /* for a second */
    forget_failure();
    expect(RESULT_CORRUPT, NULL, 1);
    forget_failure();
    atomic_store(&shared->result, RESULT_OK);
    snprintf(shared->long_url, sizeof(shared->long_url), "javascript:alert(1)");
    expect(RESULT_CORRUPT, NULL, 1);
    forget_failure();
    snprintf(shared->long_url, sizeof(shared->long_url),
             "http://EXAMPLE.com/a b");
    expect(RESULT_OK, "http://example.com/a%20b", 1);
    expect(RESULT_OK, "http://example.com/a%20b", 0);
}

TEST(without_a_cache_each_one_asks)
{
    struct cache *c = app.cache;
    app.cache = NULL;
    expect(RESULT_OK, NEW, 1);
    expect(RESULT_OK, NEW, 1);
    atomic_store(&shared->result, RESULT_UNAVAILABLE);
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
    process_barrier(&shared->gate, CROWD);
    const enum result r = look_up(&mine, &out);
    const enum result wanted = (enum result)atomic_load(&shared->result);
    if (r == RESULT_OK && strcmp(out.url, NEW) != 0 && strcmp(out.url, OLD))
        _exit(1);
    atomic_fetch_add(r == wanted ? &shared->right : &shared->failed, 1);
}

/* So many look for the id at once. Returns how long that took. */
static int64_t crowd(void)
{
    pid_t children[CROWD];
    const int64_t begun = clock_monotonic_ms();
    atomic_store(&shared->gate, 0);
    atomic_store(&shared->gets, 0);
    atomic_store(&shared->right, 0);
    for (unsigned i = 0; i < CROWD; i++)
        children[i] = process_start(look_up_together, NULL);
    for (unsigned i = 0; i < CROWD; i++)
        process_wait(children[i]);
    return clock_monotonic_ms() - begun;
}

TEST(many_who_want_one_id_ask_once)
{
    conf->store_timeout = 60; /* no machine is so slow */
    atomic_store(&shared->slow_ms, 60);
    for (unsigned round = 0; round < 4; round++) {
        atomic_store(&shared->result,
                     round % 2 == 0 ? RESULT_OK : RESULT_NOT_FOUND);
        cache_forget(app.cache, "id");
        (void)crowd();
        assert_int_equal(atomic_load(&shared->gets), 1);
        assert_int_equal(atomic_load(&shared->right), CROWD);
    }
    atomic_store(&shared->result, RESULT_OK);
    plant(70000);
    (void)crowd();
    assert_int_equal(atomic_load(&shared->gets), 1);
    assert_int_equal(atomic_load(&shared->right), CROWD);
}

static void lead_and_sleep(void *age_ms)
{
    if (cache_begin_flight(app.cache, "id",
                           clock_monotonic_ms() - *(int *)age_ms,
                           1000) != CACHE_FLIGHT_MINE)
        _exit(1);
    atomic_store(&shared->gate, 1);
    for (;;)
        pause();
}

/* Begins a query so long ago, and dies. */
static void lead_and_die(int age_ms)
{
    pid_t leader = process_start(lead_and_sleep, &age_ms);
    while (atomic_load(&shared->gate) == 0)
        sleep_us(1000);
    process_kill(leader);
}

TEST(a_killed_leader_is_replaced)
{
    conf->store_timeout = 60;
    lead_and_die(29500);
    (void)crowd();
    assert_int_equal(atomic_load(&shared->right), CROWD);
    assert_int_equal(atomic_load(&shared->gets), 1);
}

/* Its time is bounded by its own request, which began at the same moment. */
TEST(behind_a_killed_leader_is_answered_in_time)
{
    struct cache_entry out;
    conf->store_timeout = 6;
    lead_and_die(0);
    app.deadline = clock_monotonic_ms() + (int64_t)conf->store_timeout * 1000;
    assert_int_equal(look_up(&app, &out), RESULT_OK);
    assert_true(clock_monotonic_ms() < app.deadline);
}

/* A store that hangs costs each one who waits STORE_TIMEOUT, and not one after
 * the other: that is one second here. */
TEST(many_wait_for_a_hanging_store_at_once)
{
    atomic_store(&shared->result, RESULT_UNAVAILABLE);
    atomic_store(&shared->slow_ms, 1000);
    assert_true(crowd() < CROWD / 2 * 1000);
    assert_int_equal(atomic_load(&shared->right), CROWD);
}

/* While it hangs, known links are served; one reader at a time finds out
 * whether it still does, and the others do not wait for that. */
TEST(a_hanging_store_holds_up_one_reader_of_a_known_link)
{
    atomic_store(&shared->result, RESULT_UNAVAILABLE);
    plant(70000);
    expect(RESULT_OK, OLD, 1);
    sleep_us(1050000);
    conf->store_timeout = 60;
    assert_int_equal(
        cache_begin_flight(app.cache, "id", clock_monotonic_ms(), 1000),
        CACHE_FLIGHT_MINE);
    const int64_t begun = clock_monotonic_ms();
    expect(RESULT_OK, OLD, 0);
    assert_true(clock_monotonic_ms() - begun < 30000);
    cache_end_flight(app.cache, "id", clock_monotonic_ms(), false);
}

/* So they do not become leaders one after another. */
TEST(waiters_share_what_is_not_in_the_cache)
{
    atomic_store(&shared->slow_ms, 300);
    atomic_store(&shared->result, RESULT_CORRUPT);
    conf->store_timeout = 60;
    (void)crowd();
    assert_int_equal(atomic_load(&shared->gets), 1);
    assert_int_equal(atomic_load(&shared->right), CROWD);

    /* The answer could not be put into the cache: all the others query at
     * once. */
    forget_failure();
    atomic_store(&shared->result, RESULT_OK);
    atomic_store(&shared->joint, CROWD);
    pid_t holder = process_start_with_lock(temp_path(conf, "cache"));
    (void)crowd();
    assert_int_equal(atomic_load(&shared->right), CROWD);
    process_kill(holder);
}

TEST(waiter_has_the_deadline_of_its_request)
{
    const int64_t begun = clock_monotonic_ms();
    assert_int_equal(cache_begin_flight(app.cache, "id", begun, 1000),
                     CACHE_FLIGHT_MINE);
    app.deadline = begun + 200;
    conf->store_timeout = 60;
    expect(RESULT_UNAVAILABLE, NULL, 0);
    assert_in_range(clock_monotonic_ms() - begun, 200, 25000);
    assert_true(strlen(store_error(&store)) > 0);
    /* Without time left it is not waited for, and what is known will do. */
    plant(70000);
    assert_int_equal(
        cache_begin_flight(app.cache, "id", clock_monotonic_ms(), 1000),
        CACHE_FLIGHT_MINE);
    expect(RESULT_OK, OLD, 0);
}

/* The clock may go back, and then it is served. */
TEST(expired_link_has_its_url)
{
    struct cache_entry out;
    shared->ttl = 1;
    expect(RESULT_OK, NEW, 1);
    expect(RESULT_OK, NEW, 0);
    assert_true(cache_get(app.cache, "id", &out));
    assert_int_equal(out.ttl, 1);
    /* That it has expired decides first. */
    snprintf(shared->long_url, sizeof(shared->long_url), "javascript:alert(1)");
    cache_forget(app.cache, "id");
    expect(RESULT_OK, "", 1);
    expect(RESULT_OK, "", 0);
}
