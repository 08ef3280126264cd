/* The hit journal is exact, whoever is killed and whatever the store says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "hits_ledger.h"

/* Counts hits of a few links at a time, so that others become idle and lose
 * their slots, and keeps its own books behind each. */
static void count_on(void *arg)
{
    struct counter *mine = arg;
    struct hits *h = hits_open(ledger_conf);
    if (h == NULL)
        _exit(1);
    while (!atomic_load(&ledger->stop)) {
        unsigned first = (unsigned)(clock_monotonic_ms() / 16 * 7);
        unsigned link = (first + crew_random(12)) % LINKS;
        if (hits_count(h, ledger_ids[link]))
            atomic_fetch_add(&mine->counted[link], 1);
        else
            atomic_fetch_add(&mine->refused, 1);
    }
}

static void flush_on(void *arg)
{
    (void)arg;
    struct hits *h = hits_open(ledger_conf);
    struct hits_flushed out;
    if (h == NULL)
        _exit(1);
    for (unsigned part = 0;; part = (part + 1) % (SLOTS / 1024)) {
        /* The links are in the first part, and here and there is a look at
         * another one. */
        hits_flush(h, &ledger_store, part % 16 != 0 ? 0 : part, SLOTS / 1024,
                   &out);
        atomic_fetch_add(&ledger->rounds, 1);
    }
}

static void check_books(unsigned kills)
{
    uint64_t lost = 0, found = 0, all = 0;
    for (unsigned link = 0; link < LINKS; link++) {
        uint64_t counted = 0;
        for (unsigned i = 0; i < COUNTERS; i++)
            counted += atomic_load(&ledger->counters[i].counted[link]);
        all += counted;
        if (ledger_stored(link) < counted)
            lost += counted - ledger_stored(link);
        else
            found += ledger_stored(link) - counted;
    }
    assert_int_equal(lost, 0);
    /* Counted, and killed before it could say so. */
    assert_in_range(found, 0, kills);
    assert_true(all > 10000);
}

static void every_hit_arrives_once_whoever_is_killed(void **state)
{
    (void)state;
    hits_close(ledger_open());
    pid_t counters[COUNTERS], janitor = crew_start(flush_on, NULL);
    unsigned kills = 0;
    atomic_store(&ledger->trouble, 30);
    for (unsigned i = 0; i < COUNTERS; i++)
        counters[i] = crew_start(count_on, &ledger->counters[i]);
    const int64_t end = clock_monotonic_ms() + 2500;
    while (clock_monotonic_ms() < end) {
        crew_sleep_us(crew_random(8000));
        crew_slay(janitor);
        janitor = crew_start(flush_on, NULL);
        if (crew_random(2) == 0)
            continue;
        const unsigned i = crew_random(COUNTERS);
        crew_slay(counters[i]);
        counters[i] = crew_start(count_on, &ledger->counters[i]);
        kills++;
    }
    atomic_store(&ledger->stop, true);
    for (unsigned i = 0; i < COUNTERS; i++)
        crew_finish(counters[i]);
    crew_slay(janitor);
    assert_true(kills > 20);
    assert_true(atomic_load(&ledger->faults) > 20);
    assert_true(atomic_load(&ledger->rounds) > 100);

    atomic_store(&ledger->trouble, 0);
    struct hits *h = ledger_open();
    for (int i = 0; i < 3; i++)
        (void)ledger_flush(h);
    assert_int_equal(ledger_pending(h), 0);
    check_books(kills);
    hits_close(h);
}

static void count_one_link(void *arg)
{
    struct hits *h = hits_open(ledger_conf);
    if (h == NULL)
        _exit(1);
    for (unsigned round = 0; round < 20; round++) {
        crew_meet(&ledger->gate, (round + 1) * COUNTERS);
        for (unsigned n = 0; n < 50; n++)
            if (hits_count(h, ledger_ids[round]))
                atomic_fetch_add((_Atomic uint64_t *)arg, 1);
    }
}

static void a_new_link_gets_one_slot(void **state)
{
    (void)state;
    pid_t children[COUNTERS];
    uint64_t hits, links, counted = 0;
    for (unsigned i = 0; i < COUNTERS; i++)
        children[i] =
            crew_start(count_one_link, &ledger->counters[i].counted[0]);
    for (unsigned i = 0; i < COUNTERS; i++) {
        crew_finish(children[i]);
        counted += atomic_load(&ledger->counters[i].counted[0]);
    }
    struct hits *h = ledger_open();
    hits_pending_all(h, &hits, &links);
    assert_int_equal(hits, counted);
    assert_in_range(links, WINDOW, 20);
    /* Twenty links: what two slots counted would be missing here. */
    for (unsigned round = 0; round < 20; round++)
        counted -= hits_pending(h, ledger_ids[round]);
    assert_int_equal(counted, 0);
    hits_close(h);
}

/* One slot's part of a flush, so that a step by step run is short. */
static void flush_one(void *arg)
{
    struct hits_flushed out;
    const unsigned slot = (unsigned)(ids_hash(ledger_ids[0]) % SLOTS);
    hits_flush(arg, &ledger_store, slot, SLOTS, &out);
}

static void count_one(void *arg)
{
    if (!hits_count(arg, ledger_ids[0]))
        _exit(1);
}

/* Where the file has the id, and a slot's worth of bytes around it. */
static const void *find_slot(size_t *len)
{
    int fd = open(crew_path(ledger_conf, "hits"), O_RDONLY | O_CLOEXEC);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    char *base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(base != MAP_FAILED);
    close(fd);
    const char *at = memmem(base, (size_t)st.st_size, ledger_ids[0],
                            strlen(ledger_ids[0]) + 1);
    assert_non_null(at);
    *len = 128;
    return at - 16;
}

/* Killed behind each instruction that changes the slot: a flush, with every
 * answer the store can give. */
static void a_flush_may_be_killed_at_any_instruction(void **state)
{
    (void)state;
    static const int answers[] = {APPLY, UNKNOWN_APPLIED, UNKNOWN_NOT_APPLIED,
                                  RESULT_UNAVAILABLE};
    struct hits *h = ledger_open();
    size_t len;
    uint64_t expected = 1;
    ledger_count(h, 0, 1);
    const void *slot = find_slot(&len);
    for (unsigned i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        bool killed = true;
        unsigned n = 1;
        for (; killed; n++) {
            atomic_store(&ledger->next, answers[i]);
            killed = crew_kill_at_change(flush_one, h, slot, len, n);
            atomic_store(&ledger->next, 0);
            assert_true(ledger_stored(0) + ledger_pending(h) >= expected);
            assert_true(ledger_stored(0) <= expected);
            flush_one(h);
            assert_int_equal(ledger_stored(0), expected);
            assert_int_equal(ledger_pending(h), 0);
            ledger_count(h, 0, 2);
            expected += 2;
        }
        assert_true(n > 2);
    }
    hits_close(h);
}

/* The same for a hit of a link that has no slot yet, and of one that has. */
static void a_count_may_be_killed_at_any_instruction(void **state)
{
    (void)state;
    struct hits *h = ledger_open();
    size_t len;
    ledger_count(h, 0, 1);
    const void *slot = find_slot(&len);
    for (int recycled = 0; recycled <= 1; recycled++) {
        bool killed = true;
        unsigned n = 1;
        for (; killed; n++) {
            flush_one(h);
            if (recycled)
                flush_one(h);
            const uint64_t before = ledger_stored(0);
            killed = crew_kill_at_change(count_one, h, slot, len, n);
            const uint64_t counted = ledger_pending(h);
            assert_in_range(counted, killed ? 0 : 1, 1);
            ledger_count(h, 0, 1);
            flush_one(h);
            assert_int_equal(ledger_stored(0), before + counted + 1);
            assert_int_equal(ledger_pending(h), 0);
        }
        assert_true(n > (recycled ? 3 : 2));
    }
    hits_close(h);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, ledger_set_up, ledger_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_hit_arrives_once_whoever_is_killed),
        TEST(a_new_link_gets_one_slot),
        TEST(a_flush_may_be_killed_at_any_instruction),
        TEST(a_count_may_be_killed_at_any_instruction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
