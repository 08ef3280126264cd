/* The circuit breaker with many processes, some of which are killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "circuit.h"
#include "clock.h"
#include "crew.h"

#define OWNER    78
#define CALLERS  8
#define ROUNDS   300
#define PROBE_MS 400

static struct conf *conf;
static struct {
    _Atomic unsigned gates[2 * ROUNDS];
    _Atomic int64_t now; /* the time in tests that have their own */
    _Atomic unsigned probes[ROUNDS], waits[ROUNDS];
    _Atomic bool up, stop;
    _Atomic uint64_t calls, refused, answered;
} * shared;

static int set_up(void **state)
{
    int r = crew_set_up(state);
    conf = *state;
    shared = crew_share(sizeof(*shared));
    return r;
}

static enum circuit_leave ask(struct circuit *c, int64_t now)
{
    int64_t wait_ms = -1;
    enum circuit_leave leave = circuit_ask(c, now, PROBE_MS, &wait_ms);
    if (leave == CIRCUIT_WAIT && wait_ms < 1)
        _exit(3);
    return leave;
}

/* Opens the circuit, which must be closed. When its time is over for sure. */
static int64_t open_it(struct circuit *c, int64_t now)
{
    for (unsigned n = 0; n < CIRCUIT_FAILURES; n++) {
        assert_int_equal(ask(c, now), CIRCUIT_GO);
        circuit_tell(c, now, false);
    }
    assert_int_equal(circuit_open_since(c, now), 1);
    return now + CIRCUIT_OPEN_MS;
}

/* ---- All at once ----------------------------------------------------- */

static void ask_in_rounds(void *arg)
{
    struct circuit *c = circuit_open(conf, OWNER);
    (void)arg;
    for (unsigned round = 0; round < ROUNDS; round++) {
        crew_meet(&shared->gates[2 * round], CALLERS + 1);
        switch (ask(c, atomic_load(&shared->now))) {
        case CIRCUIT_PROBE:
            atomic_fetch_add(&shared->probes[round], 1);
            break;
        case CIRCUIT_WAIT:
            atomic_fetch_add(&shared->waits[round], 1);
            break;
        default:
            _exit(1);
        }
        crew_meet(&shared->gates[2 * round + 1], CALLERS + 1);
        /* A probe that does not tell is given up by the next round, and not
         * told from the others then. */
        circuit_close(c);
        c = circuit_open(conf, OWNER);
    }
}

static void exactly_one_is_the_probe(void **state)
{
    (void)state;
    pid_t callers[CALLERS];
    struct circuit *c = circuit_open(conf, OWNER);
    int64_t now = open_it(c, 1000);
    for (unsigned i = 0; i < CALLERS; i++)
        callers[i] = crew_start(ask_in_rounds, NULL);
    for (unsigned round = 0; round < ROUNDS; round++) {
        atomic_store(&shared->now, now);
        crew_meet(&shared->gates[2 * round], CALLERS + 1);
        crew_meet(&shared->gates[2 * round + 1], CALLERS + 1);
        assert_int_equal(atomic_load(&shared->probes[round]), 1);
        assert_int_equal(atomic_load(&shared->waits[round]), CALLERS - 1);
        now += PROBE_MS;
    }
    for (unsigned i = 0; i < CALLERS; i++)
        crew_finish(callers[i]);
    circuit_close(c);
}

/* Many tell at once: each failure counts, so it is open after as many as it
 * takes, whoever they come from, and not before. */
static void fail_once(void *arg)
{
    struct circuit *c = circuit_open(conf, OWNER);
    unsigned *round = arg;
    if (ask(c, 1000) != CIRCUIT_GO)
        _exit(1);
    crew_meet(&shared->gates[*round], CIRCUIT_FAILURES - 1);
    circuit_tell(c, 1000, false);
}

static void no_failure_is_lost(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        pid_t callers[CIRCUIT_FAILURES - 1];
        struct circuit *c = circuit_open(conf, OWNER);
        for (unsigned i = 0; i < CIRCUIT_FAILURES - 1; i++)
            callers[i] = crew_start(fail_once, &round);
        for (unsigned i = 0; i < CIRCUIT_FAILURES - 1; i++)
            crew_finish(callers[i]);
        assert_int_equal(circuit_open_since(c, 1000), 0);
        assert_int_equal(ask(c, 1000), CIRCUIT_GO);
        circuit_tell(c, 1000, false);
        assert_int_equal(circuit_open_since(c, 1000), 1);
        circuit_close(c);
        assert_int_equal(unlink(crew_path(conf, "circuit")), 0);
    }
}

/* ---- Killed ---------------------------------------------------------- */

static void probe_and_hang(void *arg)
{
    struct circuit *c = circuit_open(conf, OWNER);
    (void)arg;
    if (ask(c, clock_monotonic_ms()) != CIRCUIT_PROBE)
        _exit(1);
    atomic_store(&shared->up, true);
    for (;;)
        pause();
}

static void a_probe_that_is_killed_is_given_up(void **state)
{
    (void)state;
    struct circuit *c = circuit_open(conf, OWNER);
    open_it(c, clock_monotonic_ms());
    crew_sleep_us((CIRCUIT_OPEN_MS + 1) * 1000);
    pid_t prober = crew_start(probe_and_hang, NULL);
    while (!atomic_load(&shared->up))
        crew_sleep_us(100);
    const int64_t begun = clock_monotonic_ms();
    crew_slay(prober);
    assert_int_equal(ask(c, clock_monotonic_ms()), CIRCUIT_WAIT);
    while (ask(c, clock_monotonic_ms()) == CIRCUIT_WAIT)
        crew_sleep_us(1000);
    const int64_t took = clock_monotonic_ms() - begun;
    assert_in_range(took, PROBE_MS - 100, PROBE_MS + 2000);
    circuit_tell(c, clock_monotonic_ms(), true);
    assert_int_equal(ask(c, clock_monotonic_ms()), CIRCUIT_GO);
    circuit_close(c);
}

static void fail_and_recover(void *arg)
{
    struct circuit *c = arg;
    int64_t now = 1000;
    for (unsigned n = 0; n < CIRCUIT_FAILURES; n++) {
        ask(c, now);
        circuit_tell(c, now, false);
    }
    now += CIRCUIT_OPEN_MS;
    ask(c, now);
    circuit_tell(c, now, false);
    now += 2 * CIRCUIT_OPEN_MS;
    ask(c, now);
    circuit_tell(c, now, true);
    ask(c, now);
    circuit_tell(c, now, false);
    circuit_tell(c, now, true);
}

/* The circuit's file, mapped. */
static unsigned char *map_file(size_t *len)
{
    int fd = open(crew_path(conf, "circuit"), O_RDWR);
    struct stat st;
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    *len = (size_t)st.st_size;
    void *base = mmap(NULL, *len, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(base != MAP_FAILED);
    close(fd);
    return base;
}

/* Whatever was left behind: others find their way from there to a closed and
 * to an open circuit. */
static void check_working(struct circuit *c, int64_t now)
{
    now += CIRCUIT_OPEN_MAX_MS + PROBE_MS;
    const bool open = circuit_open_since(c, now) > 0;
    assert_int_equal(ask(c, now), open ? CIRCUIT_PROBE : CIRCUIT_GO);
    circuit_tell(c, now, true);
    assert_int_equal(circuit_open_since(c, now), 0);
    now = open_it(c, now);
    assert_int_equal(ask(c, now), CIRCUIT_PROBE);
    circuit_tell(c, now, true);
    assert_int_equal(ask(c, now), CIRCUIT_GO);
}

/* Each step is one change of one word, so a process can be killed between any
 * two of them; there is nothing else to be killed in. */
static void killed_at_each_change(void **state)
{
    (void)state;
    /* 5 failures, probe, failed, probe, closed, a failure, forgotten. */
    const unsigned changes = CIRCUIT_FAILURES + 6;
    for (unsigned n = 1; n <= changes + 1; n++) {
        size_t len;
        struct circuit *c = circuit_open(conf, OWNER);
        const unsigned char *file = map_file(&len);
        assert_int_equal(crew_kill_at_change(fail_and_recover, c, file, len, n),
                         n <= changes);
        const bool open = n >= CIRCUIT_FAILURES && n < CIRCUIT_FAILURES + 4;
        assert_int_equal(circuit_open_since(c, 1000) > 0, open);
        check_working(c, 1000 + 3 * CIRCUIT_OPEN_MS);
        munmap((void *)file, len);
        circuit_close(c);
        assert_int_equal(unlink(crew_path(conf, "circuit")), 0);
    }
}

/* ---- An outage ------------------------------------------------------- */

/* Calls a store that takes some time, and twenty times as long while it is
 * away. */
static void call_on(void *arg)
{
    struct circuit *c = circuit_open(conf, OWNER);
    (void)arg;
    while (!atomic_load(&shared->stop)) {
        if (ask(c, clock_monotonic_ms()) == CIRCUIT_WAIT) {
            atomic_fetch_add(&shared->refused, 1);
            crew_sleep_us(1000);
            continue;
        }
        const bool up = atomic_load(&shared->up);
        atomic_fetch_add(&shared->calls, 1);
        crew_sleep_us(up ? 1000 : 20000);
        circuit_tell(c, clock_monotonic_ms(), up);
        if (up)
            atomic_fetch_add(&shared->answered, 1);
    }
}

static void wait_until(bool (*is_so)(struct circuit *c), struct circuit *c,
                       int64_t most_ms)
{
    const int64_t begun = clock_monotonic_ms();
    while (!is_so(c)) {
        assert_true(clock_monotonic_ms() - begun < most_ms);
        crew_sleep_us(1000);
    }
}

static bool is_open(struct circuit *c)
{
    return circuit_open_since(c, clock_monotonic_ms()) > 0;
}

static bool is_closed(struct circuit *c)
{
    return !is_open(c);
}

static bool is_used(struct circuit *c)
{
    (void)c;
    return atomic_load(&shared->answered) > 100;
}

/* An outage of a second and a half, in which a caller dies now and then, the
 * probe too: few calls are made meanwhile, and soon after it all go on. */
static void an_outage(void **state)
{
    (void)state;
    pid_t callers[CALLERS];
    struct circuit *c = circuit_open(conf, OWNER);
    atomic_store(&shared->up, true);
    for (unsigned i = 0; i < CALLERS; i++)
        callers[i] = crew_start(call_on, NULL);
    wait_until(is_used, c, 10000);
    atomic_store(&shared->up, false);
    wait_until(is_open, c, 5000);
    crew_sleep_us(150000); /* what was under way comes to its end */
    const uint64_t before = atomic_load(&shared->calls);
    const uint64_t answered = atomic_load(&shared->answered);
    for (unsigned n = 0; n < 15; n++) {
        crew_sleep_us(100000);
        const unsigned victim = crew_random(CALLERS);
        crew_slay(callers[victim]);
        callers[victim] = crew_start(call_on, NULL);
        assert_true(is_open(c));
    }
    /* The probes: after 0.25, 0.5, 1 s at the earliest; a few more if they were
     * killed. */
    assert_in_range(atomic_load(&shared->calls) - before, 1, 6);
    assert_int_equal(atomic_load(&shared->answered), answered);
    assert_true(atomic_load(&shared->refused) > 500);
    atomic_store(&shared->up, true);
    wait_until(is_closed, c, CIRCUIT_OPEN_MAX_MS + 2 * PROBE_MS + 5000);
    const uint64_t then = atomic_load(&shared->answered);
    crew_sleep_us(300000);
    assert_true(is_closed(c));
    assert_true(atomic_load(&shared->answered) > then + 50);
    atomic_store(&shared->stop, true);
    for (unsigned i = 0; i < CALLERS; i++)
        crew_finish(callers[i]);
    circuit_close(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, crew_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(exactly_one_is_the_probe),
        TEST(no_failure_is_lost),
        TEST(a_probe_that_is_killed_is_given_up),
        TEST(killed_at_each_change),
        TEST(an_outage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
