/* Buckets and leases in shared memory, and what plans make of them. */
#include "test.h"

#include <json-c/json.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "processes.h"
#include "service/app.h"
#include "service/plans.h"

/* Slow: nothing comes back during a test. */
#define SLOW(n)                                                                \
    (struct conf_rate)                                                         \
    {                                                                          \
        n, 86400                                                               \
    }

static struct conf *conf;
static struct limits_state met; /* of the last limits_take() */

static int set_up(void **state)
{
    const int r = temp_conf_set_up(state);
    conf = *state;
    conf->limits = 1;
    return r;
}

EACH_TEST(set_up, temp_conf_tear_down)

static struct limits *open_limits(void)
{
    struct limits *l = limits_open(conf, &(bool){false});
    if (l == NULL)
        _exit(9);
    return l;
}

static bool take(struct limits *l, const char *who, uint64_t rate,
                 uint64_t count)
{
    return limits_take(l, LIMITS_CREATE, who, SLOW(rate), count, &met);
}

/* ---- Buckets --------------------------------------------------------- */

TEST(a_bucket_gives_what_it_has)
{
    struct limits *l = open_limits(), *other = open_limits();
    const struct conf_rate rate = {7, 70000};
    for (unsigned i = 1; i <= 7; i++) {
        assert_true(limits_take(i % 2 ? l : other, LIMITS_CREATE, "192.0.2.1",
                                rate, 1, &met));
        assert_int_equal(met.remaining, 7 - i);
        assert_in_range(met.reset, i * 10000 - 100, i * 10000);
        assert_int_equal(met.wait, 0);
    }
    assert_false(limits_take(l, LIMITS_CREATE, "192.0.2.1", rate, 1, &met));
    assert_int_equal(met.kind, LIMITS_CREATE);
    assert_int_equal(met.remaining, 0);
    assert_in_range(met.wait, 9900, 10000);
    assert_in_range(met.reset, 69900, 70000);
    assert_true(take(l, "192.0.2.2", 1, 1));
    limits_close(l);
    assert_false(limits_take(other, LIMITS_CREATE, "192.0.2.1", rate, 1, &met));
    limits_close(other);
}

TEST(several_are_taken_all_or_none)
{
    struct limits *l = open_limits();
    assert_true(take(l, "192.0.2.1", 100, 60));
    assert_false(take(l, "192.0.2.1", 100, 41));
    assert_true(take(l, "192.0.2.1", 100, 40));
    assert_false(take(l, "192.0.2.1", 100, 1));
    /* More than there ever are: waiting does not help. */
    assert_false(
        limits_take(l, LIMITS_CREATE, "192.0.2.2", SLOW(99), 100, &met));
    assert_int_equal(met.wait, 0);
    assert_int_equal(met.remaining, 99);
    /* 0 only looks. */
    for (int i = 0; i < 5; i++)
        assert_true(take(l, "192.0.2.3", 1, 0));
    assert_true(take(l, "192.0.2.3", 1, 1));
    assert_false(take(l, "192.0.2.3", 1, 0));
    limits_close(l);
}

TEST(a_bucket_fills_at_its_rate)
{
    struct limits *l = open_limits();
    const struct conf_rate rate = {100, 1};
    const int64_t begin = clock_monotonic_ms();
    unsigned taken = 0;
    while (taken < 120) {
        taken += limits_take(l, LIMITS_KEY, "one", rate, 1, &met);
        sleep_us(100);
    }
    /* The first 100 at once, the others each 10 ms. */
    assert_true(clock_monotonic_ms() - begin >= 199);
    limits_close(l);
}

TEST(another_rate_holds_at_once)
{
    struct limits *l = open_limits();
    assert_true(limits_take(l, LIMITS_KEY, "one", SLOW(10), 10, &met));
    assert_false(limits_take(l, LIMITS_KEY, "one", (struct conf_rate){10, 1000},
                             1, &met));
    assert_int_equal(met.wait, 100);
    assert_int_equal(met.reset, 1000);
    while (!limits_take(l, LIMITS_KEY, "one", (struct conf_rate){1000, 1}, 1,
                        &met))
        assert_true(met.wait == 1);
    limits_close(l);
}

TEST(addresses_are_told_apart)
{
    static const struct {
        const char *one, *other;
        bool same;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1", "::ffff:192.0.2.1", true},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
        {"2001:db8:1:2::1", "2001:DB8:1:2::2", true},
        {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
        {"::1", "0.0.0.0", false},
        {"192.0.2.1", NULL, false},
        {NULL, NULL, true},
        {NULL, "", true},
        {NULL, "unix:", true},
        {"", "2001:db8:1:2::1%eth0", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct limits *l = open_limits();
        assert_true(take(l, cases[i].one, 1, 1));
        if (take(l, cases[i].other, 1, 1) == cases[i].same)
            fail_msg("%s and %s", cases[i].one, cases[i].other);
        limits_close(l);
        unlink(temp_path(conf, "limits"));
    }
}

TEST(kinds_have_buckets_of_their_own)
{
    struct limits *l = open_limits();
    for (int kind = LIMITS_KEY; kind <= LIMITS_UNKNOWN; kind++) {
        assert_true(limits_take(l, (enum limits_kind)kind, "192.0.2.1", SLOW(1),
                                1, &met));
        assert_false(limits_take(l, (enum limits_kind)kind, "192.0.2.1",
                                 SLOW(1), 1, &met));
    }
    assert_true(limits_take(l, LIMITS_KEY, "192.0.2.2", SLOW(1), 1, &met));
    limits_close(l);
}

/* More clients than there are words: each is served, and one that comes again
 * at once is known. */
TEST(clients_beyond_the_table_are_served)
{
    struct limits *l = open_limits();
    char address[40];
    unsigned wrong = 0;
    for (unsigned i = 0; i < 200000; i++) {
        snprintf(address, sizeof(address), "10.%u.%u.%u", i >> 16, i >> 8 & 255,
                 i & 255);
        wrong += !take(l, address, 2, 1);
        wrong += !take(l, address, 2, 1);
        wrong += take(l, address, 2, 1);
    }
    /* Some may share a bucket: 0.1 of them on average. */
    assert_in_range(wrong, 0, 20);
    /* What is given up is what would be free first. */
    assert_true(take(l, "192.0.2.1", 2, 2));
    for (unsigned i = 0; i < 200000; i++) {
        snprintf(address, sizeof(address), "11.%u.%u.%u", i >> 16, i >> 8 & 255,
                 i & 255);
        (void)take(l, address, 4, 1);
    }
    assert_false(take(l, "192.0.2.1", 2, 1));
    limits_close(l);
}

static struct {
    _Atomic unsigned gate, taken;
    _Atomic uint64_t used, store_calls;
    _Atomic int result; /* of the store */
} * shared;

static void take_from_one(void *arg)
{
    (void)arg;
    struct limits *l = open_limits();
    process_barrier(&shared->gate, 4);
    for (unsigned i = 0; i < 20000; i++)
        shared->taken += take(l, "192.0.2.1", 30001, 1);
    limits_close(l);
}

TEST(processes_share_a_bucket)
{
    pid_t children[4];
    shared = share_memory(sizeof(*shared));
    for (size_t i = 0; i < COUNT(children); i++)
        children[i] = process_start(take_from_one, NULL);
    for (size_t i = 0; i < COUNT(children); i++)
        process_wait(children[i]);
    /* 2.88 s for each that comes back */
    assert_in_range(shared->taken, 30001, 30030);
}

TEST(without_limits_everything_is_allowed)
{
    conf->limits = 0;
    assert_null(limits_open(conf, &(bool){false}));
    conf->limits = 1;
    char *dir = conf->runtime_dir, missing[] = "/nonexistent";
    bool failed = false;
    conf->runtime_dir = missing;
    assert_null(limits_open(conf, &failed));
    assert_true(failed);
    conf->runtime_dir = dir;
    assert_false(limits_is_replaced(NULL));
    for (int i = 0; i < 3; i++)
        assert_true(limits_take(NULL, LIMITS_AUTH, NULL, SLOW(1), 1, &met));
    assert_int_equal(met.remaining, 1);
    limits_close(NULL);
}

/* ---- Leases ---------------------------------------------------------- */

TEST(a_lease_is_spent_and_ends)
{
    struct limits *l = open_limits(), *other = open_limits();
    uint64_t left;
    assert_int_equal(limits_lease_take(l, "q", 100, 1, &left),
                     LIMITS_LEASE_SHORT);
    limits_lease_add(l, "q", 100, 101, 10, 90);
    assert_int_equal(limits_lease_take(other, "q", 100, 9, &left),
                     LIMITS_LEASE_TAKEN);
    assert_int_equal(left, 91);
    assert_int_equal(limits_lease_take(l, "q", 100, 2, &left),
                     LIMITS_LEASE_SHORT);
    assert_int_equal(limits_lease_take(l, "p", 100, 1, &left),
                     LIMITS_LEASE_SHORT);
    /* The last one */
    limits_lease_add(l, "q", 100, 101, 4, 0);
    assert_int_equal(limits_lease_take(l, "q", 100, 6, &left),
                     LIMITS_LEASE_OVER);
    assert_int_equal(left, 5);
    assert_int_equal(limits_lease_take(l, "q", 100, 5, &left),
                     LIMITS_LEASE_TAKEN);
    assert_int_equal(limits_lease_take(other, "q", 100, 1, &left),
                     LIMITS_LEASE_OVER);
    assert_int_equal(left, 0);
    limits_close(l);
    limits_close(other);
}

TEST(leases_of_a_period_that_is_over_make_room)
{
    struct limits *l = open_limits();
    uint64_t left;
    char name[20];
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(name, sizeof(name), "old%u", i);
        limits_lease_add(l, name, 100, 101, 1000, 0);
    }
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "new%u", i);
        limits_lease_add(l, name, 101, 102, 5, 5);
    }
    unsigned lost = 0;
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "new%u", i);
        lost += limits_lease_take(l, name, 101, 5, &left) != LIMITS_LEASE_TAKEN;
    }
    /* More than eight may share a set: 0.4 are lost on average. */
    assert_in_range(lost, 0, 20);
    limits_close(l);
}

static void hold_lock(void *arg)
{
    struct limits *l = open_limits();
    assert_true(limits_lease_lock(l, arg, 0));
    shared->gate = 1;
    for (;;)
        pause();
}

TEST(the_lock_of_a_dead_process_is_free)
{
    static char name[] = "q";
    shared = share_memory(sizeof(*shared));
    struct limits *l = open_limits();
    const pid_t child = process_start(hold_lock, name);
    while (shared->gate == 0)
        sleep_us(100);
    assert_false(limits_lease_lock(l, "q", clock_monotonic_ms() + 20));
    assert_true(limits_lease_lock(l, "another", 0));
    limits_lease_unlock(l, "another");
    process_kill(child);
    assert_true(limits_lease_lock(l, "q", clock_monotonic_ms() + 10000));
    limits_lease_unlock(l, "q");
    limits_close(l);
}

/* ---- Plans ----------------------------------------------------------- */

TEST(quotas_are_read)
{
    static const char *const bad[] = {"",
                                      "1",
                                      "/day",
                                      "0/day",
                                      "1/",
                                      "1/year",
                                      "1/Day",
                                      "1/days",
                                      " 1/day",
                                      "1 /day",
                                      "-1/day",
                                      "1.5/day",
                                      "1/day/day",
                                      "1000000000001/day",
                                      "99999999999999999999999999999999/day"};
    struct plan plan = {.quota = 42};
    for (size_t i = 0; i < COUNT(bad); i++)
        if (plans_parse_quota(bad[i], &plan) || plan.quota != 42)
            fail_msg("%s", bad[i]);
    assert_true(plans_parse_quota("1/day", &plan));
    assert_true(plan.quota == 1 && plan.period == PLANS_DAY);
    assert_true(plans_parse_quota("1000/week", &plan));
    assert_true(plan.quota == 1000 && plan.period == PLANS_WEEK);
    assert_true(plans_parse_quota("1000000000000/month", &plan));
    assert_true(plan.quota == PLANS_QUOTA_MAX && plan.period == PLANS_MONTH);
}

TEST(plans_are_read)
{
    static const char *const bad[] = {
        "", "[]", "null", "{\"rate\":\"1\"}", "{\"quota\":\"1/year\"}", "{"};
    struct plan plan;
    for (size_t i = 0; i < COUNT(bad); i++)
        if (plans_parse(bad[i], strlen(bad[i]), &plan))
            fail_msg("%s", bad[i]);
    static const char text[] = "{\"rate\":\"10/2\",\"quota\":\"5/day\"}";
    assert_true(plans_parse(text, strlen(text), &plan));
    assert_true(plan.rate.count == 10 && plan.rate.seconds == 2);
    assert_true(plan.quota == 5 && plan.period == PLANS_DAY);
    assert_true(plans_parse("{}", 2, &plan));
    assert_true(plan.rate.count == 0 && plan.quota == 0);
    assert_true(plans_is_name("a") && plans_is_name("Free-1_x.y"));
    assert_false(plans_is_name("") || plans_is_name("a b") ||
                 plans_is_name("a~b") || plans_is_name("\xc3\xa4"));
}

TEST(periods_follow_the_calendar)
{
    static const struct {
        const char *now, *name, *begin, *end;
        enum plans_period period;
    } cases[] = {
        {"2026-11-26T07:00:00Z", "2026-11-26", "2026-11-26T00:00:00Z",
         "2026-11-27T00:00:00Z", PLANS_DAY},
        {"2026-11-26T07:00:00Z", "2026-W48", "2026-11-23T00:00:00Z",
         "2026-11-30T00:00:00Z", PLANS_WEEK},
        {"2026-11-26T07:00:00Z", "2026-11", "2026-11-01T00:00:00Z",
         "2026-12-01T00:00:00Z", PLANS_MONTH},
        {"2026-11-29T23:59:59Z", "2026-W48", "2026-11-23T00:00:00Z",
         "2026-11-30T00:00:00Z", PLANS_WEEK},
        {"2026-11-30T00:00:00Z", "2026-W49", "2026-11-30T00:00:00Z",
         "2026-12-07T00:00:00Z", PLANS_WEEK},
        {"2026-12-31T23:59:59Z", "2026-12", "2026-12-01T00:00:00Z",
         "2027-01-01T00:00:00Z", PLANS_MONTH},
        {"2027-01-01T00:00:00Z", "2026-W53", "2026-12-28T00:00:00Z",
         "2027-01-04T00:00:00Z", PLANS_WEEK},
        {"2028-02-29T12:00:00Z", "2028-02", "2028-02-01T00:00:00Z",
         "2028-03-01T00:00:00Z", PLANS_MONTH},
        {"2028-02-29T12:00:00Z", "2028-02-29", "2028-02-29T00:00:00Z",
         "2028-03-01T00:00:00Z", PLANS_DAY},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct plans_span span;
        int64_t now = 0, begin = 0, end = 0;
        assert_true(clock_parse(cases[i].now, &now) &&
                    clock_parse(cases[i].begin, &begin) &&
                    clock_parse(cases[i].end, &end));
        plans_span(cases[i].period, now, &span);
        assert_string_equal(span.name, cases[i].name);
        assert_true(span.begin == begin && span.end == end);
    }
}

/* A store with one plan, and one counter in shared memory. */
static const char *plan_text;

static enum result fake_record_get(struct store *s, const char *key,
                                   bool consistent, struct store_record *out)
{
    (void)s;
    (void)consistent;
    if (plan_text == NULL || strcmp(key, "~plan~basic") != 0)
        return RESULT_NOT_FOUND;
    return json_parse(plan_text, strlen(plan_text), 8, &out->value);
}

static enum result fake_record_count(struct store *s, const char *key,
                                     uint64_t n, int64_t ttl, uint64_t *total)
{
    (void)s;
    assert_true(strncmp(key, "~quota~mykey~20", 15) == 0);
    assert_true(ttl > clock_now() + 86400 && ttl < clock_now() + 86400 * 33);
    shared->store_calls++;
    if (shared->result == RESULT_OK)
        *total = atomic_fetch_add(&shared->used, n) + n;
    return (enum result)shared->result;
}

static const struct store_ops fake_ops = {.record_get = fake_record_get,
                                          .record_count = fake_record_count};

struct host {
    struct store store;
    struct app app;
};

/* A host of its own where dir is not NULL. */
static void open_host(struct host *h, struct limits *l)
{
    *h = (struct host){.store = {.ops = &fake_ops, .conf = conf}};
    h->app = (struct app){.conf = conf,
                          .store = &h->store,
                          .limits = l,
                          .deadline = clock_monotonic_ms() + 60000};
    buf_init(&h->store.error, 200);
}

static struct limits *open_limits_in(const char *dir)
{
    char *before = conf->runtime_dir;
    conf->runtime_dir = mem_dup(dir);
    struct limits *l = open_limits();
    free(conf->runtime_dir);
    conf->runtime_dir = before;
    return l;
}

static void make_shared(const char *text)
{
    shared = share_memory(sizeof(*shared));
    shared->result = RESULT_OK;
    plan_text = text;
}

TEST(a_quota_is_spent_to_the_last_and_then_costs_nothing)
{
    struct host h;
    make_shared("{\"rate\":\"5000/1\",\"quota\":\"1000/month\"}");
    open_host(&h, open_limits());
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(plans_take(&h.app, "mykey", "basic", 1), RESULT_OK);
        assert_int_equal(h.app.met.count, 2);
        assert_int_equal(h.app.met.states[0].kind, LIMITS_KEY);
        assert_int_equal(h.app.met.states[1].kind, LIMITS_QUOTA);
        assert_int_equal(h.app.met.states[1].remaining, 999 - i);
    }
    assert_int_equal(shared->used, 1000);
    assert_int_equal(shared->store_calls, 100);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(plans_take(&h.app, "mykey", "basic", 1),
                         RESULT_LIMITED);
    assert_int_equal(shared->store_calls, 100);
    const struct limits_state *quota = &h.app.met.states[1];
    assert_int_equal(quota->remaining, 0);
    assert_int_equal(quota->rate.count, 1000);
    assert_in_range(quota->rate.seconds, 28 * 86400, 31 * 86400);
    assert_true(quota->wait == quota->reset && quota->wait > 0);
    /* A larger quota counts at once, and so does a smaller one. */
    plan_text = "{\"quota\":\"1010/month\"}";
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(plans_take(&h.app, "mykey", "basic", 1), RESULT_OK);
    assert_int_equal(plans_take(&h.app, "mykey", "basic", 1), RESULT_LIMITED);
    plan_text = "{\"quota\":\"900/month\"}";
    assert_int_equal(plans_take(&h.app, "mykey", "basic", 1), RESULT_LIMITED);
    limits_close(h.app.limits);
    buf_free(&h.store.error);
}

TEST(a_rate_that_refuses_leaves_the_quota)
{
    struct host h;
    make_shared("{\"rate\":\"2/86400\",\"quota\":\"1000/day\"}");
    open_host(&h, open_limits());
    assert_int_equal(plans_take(&h.app, "mykey", "basic", 2), RESULT_OK);
    assert_int_equal(plans_take(&h.app, "mykey", "basic", 1), RESULT_LIMITED);
    assert_int_equal(h.app.met.count, 1);
    assert_int_equal(h.app.met.states[0].kind, LIMITS_KEY);
    assert_int_equal(shared->store_calls, 1);
    limits_close(h.app.limits);
    buf_free(&h.store.error);
}

TEST(a_failed_store_grants_nothing)
{
    struct host h;
    make_shared("{\"quota\":\"1000/day\"}");
    open_host(&h, open_limits());
    shared->result = RESULT_UNAVAILABLE;
    assert_int_equal(plans_take(&h.app, "mykey", "basic", 1),
                     RESULT_UNAVAILABLE);
    shared->result = RESULT_OK;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(plans_take(&h.app, "mykey", "basic", 1), RESULT_OK);
    /* What is left of a lease needs no store. */
    shared->result = RESULT_UNAVAILABLE;
    assert_int_equal(plans_take(&h.app, "mykey", "basic", 1),
                     RESULT_UNAVAILABLE);
    limits_close(h.app.limits);
    buf_free(&h.store.error);
}

TEST(without_the_file_the_store_counts)
{
    struct host h;
    make_shared("{\"rate\":\"1/86400\",\"quota\":\"10/day\"}");
    open_host(&h, NULL);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(plans_take(&h.app, "mykey", "basic", 2), RESULT_OK);
    assert_int_equal(plans_take(&h.app, "mykey", "basic", 1), RESULT_LIMITED);
    buf_free(&h.store.error);
}

TEST(a_plan_that_does_not_exist_limits_nothing)
{
    struct host h;
    make_shared(NULL);
    open_host(&h, open_limits());
    assert_int_equal(plans_take(&h.app, "mykey", "basic", 1), RESULT_OK);
    assert_int_equal(plans_take(&h.app, "mykey", NULL, 1), RESULT_OK);
    assert_int_equal(plans_take(&h.app, "mykey", "", 1), RESULT_OK);
    assert_int_equal(h.app.met.count, 0);
    plan_text = "{\"quota\":\"lots\"}";
    assert_int_equal(plans_take(&h.app, "mykey", "basic", 1), RESULT_CORRUPT);
    assert_non_null(strstr(store_error(&h.store), "curt plan set"));
    limits_close(h.app.limits);
    buf_free(&h.store.error);
}

struct worker {
    const char *dir;
    uint64_t count;
};

static void spend(void *arg)
{
    const struct worker *w = arg;
    struct host h;
    open_host(&h, open_limits_in(w->dir));
    process_barrier(&shared->gate, 6);
    enum result r = RESULT_OK;
    while (r == RESULT_OK) {
        r = plans_take(&h.app, "mykey", "basic", w->count);
        shared->taken += r == RESULT_OK ? (unsigned)w->count : 0;
    }
    if (r != RESULT_LIMITED)
        _exit(8);
    limits_close(h.app.limits);
}

/* Three processes on each of two hosts. */
static void spend_on_two_hosts(const char *text, uint64_t count)
{
    char *dirs[] = {mem_dup(temp_dir()), mem_dup(temp_dir())};
    pid_t children[6];
    make_shared(text);
    for (size_t i = 0; i < COUNT(children); i++)
        children[i] = process_start(
            spend, &(struct worker){.dir = dirs[i % 2], .count = count});
    for (size_t i = 0; i < COUNT(children); i++)
        process_wait(children[i]);
    free(dirs[0]);
    free(dirs[1]);
}

TEST(hosts_share_a_quota)
{
    spend_on_two_hosts("{\"quota\":\"20000/month\"}", 1);
    assert_int_equal(shared->taken, 20000);
    /* At most a lease of 200 each, and one that finds nothing */
    assert_in_range(shared->store_calls, 100, 102);
    spend_on_two_hosts("{\"quota\":\"7/day\"}", 1);
    assert_int_equal(shared->taken, 7);
    /* What is left of a lease is too little for so many. */
    spend_on_two_hosts("{\"quota\":\"20000/week\"}", 30);
    assert_in_range(shared->taken, 20000 - 2 * 30, 20000);
}
