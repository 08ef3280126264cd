/* The circuit breaker with many processes, some of which are killed. */
#include "test.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "aws/breaker.h"
#include "base/clock.h"
#include "processes.h"

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
    int r = temp_conf_set_up(state);
    conf = *state;
    shared = share_memory(sizeof(*shared));
    return r;
}

EACH_TEST(set_up, temp_conf_tear_down)

static bool ask(struct breaker *c, int64_t now)
{
    int64_t wait_ms = -1;
    const bool allowed = breaker_allows(c, now, PROBE_MS, &wait_ms);
    if (!allowed && wait_ms < 1)
        _exit(3);
    return allowed;
}

/* Opens the breaker, which must be closed. When its time is over for sure. */
static int64_t open_it(struct breaker *c, int64_t now)
{
    for (unsigned n = 0; n < BREAKER_FAILURES; n++) {
        assert_true(ask(c, now));
        breaker_report(c, now, false);
    }
    assert_int_equal(breaker_open_ms(c, now), 1);
    return now + BREAKER_PAUSE_MS;
}

/* ---- All at once ----------------------------------------------------- */

static void ask_in_rounds(void *arg)
{
    struct breaker *c = breaker_new(conf->runtime_dir, OWNER);
    (void)arg;
    for (unsigned round = 0; round < ROUNDS; round++) {
        process_barrier(&shared->gates[2 * round], CALLERS + 1);
        atomic_fetch_add(ask(c, atomic_load(&shared->now))
                             ? &shared->probes[round]
                             : &shared->waits[round],
                         1);
        process_barrier(&shared->gates[2 * round + 1], CALLERS + 1);
        /* A probe that does not tell is given up by the next round, and not
         * told from the others then. */
        breaker_free(c);
        c = breaker_new(conf->runtime_dir, OWNER);
    }
}

TEST(exactly_one_is_the_probe)
{
    pid_t callers[CALLERS];
    struct breaker *c = breaker_new(conf->runtime_dir, OWNER);
    int64_t now = open_it(c, 1000);
    for (unsigned i = 0; i < CALLERS; i++)
        callers[i] = process_start(ask_in_rounds, NULL);
    for (unsigned round = 0; round < ROUNDS; round++) {
        atomic_store(&shared->now, now);
        process_barrier(&shared->gates[2 * round], CALLERS + 1);
        process_barrier(&shared->gates[2 * round + 1], CALLERS + 1);
        assert_int_equal(atomic_load(&shared->probes[round]), 1);
        assert_int_equal(atomic_load(&shared->waits[round]), CALLERS - 1);
        now += PROBE_MS;
    }
    for (unsigned i = 0; i < CALLERS; i++)
        process_wait(callers[i]);
    breaker_free(c);
}

/* Many tell at once: each failure counts, so it is open after as many as it
 * takes, whoever they come from, and not before. */
static void fail_once(void *arg)
{
    struct breaker *c = breaker_new(conf->runtime_dir, OWNER);
    unsigned *round = arg;
    if (!ask(c, 1000))
        _exit(1);
    process_barrier(&shared->gates[*round], BREAKER_FAILURES - 1);
    breaker_report(c, 1000, false);
}

TEST(no_failure_is_lost)
{
    for (unsigned round = 0; round < 40; round++) {
        pid_t callers[BREAKER_FAILURES - 1];
        struct breaker *c = breaker_new(conf->runtime_dir, OWNER);
        for (unsigned i = 0; i < BREAKER_FAILURES - 1; i++)
            callers[i] = process_start(fail_once, &round);
        for (unsigned i = 0; i < BREAKER_FAILURES - 1; i++)
            process_wait(callers[i]);
        assert_int_equal(breaker_open_ms(c, 1000), 0);
        assert_true(ask(c, 1000));
        breaker_report(c, 1000, false);
        assert_int_equal(breaker_open_ms(c, 1000), 1);
        breaker_free(c);
        assert_int_equal(unlink(temp_path(conf, "circuit")), 0);
    }
}

/* ---- Killed ---------------------------------------------------------- */

static void probe_and_hang(void *arg)
{
    struct breaker *c = breaker_new(conf->runtime_dir, OWNER);
    (void)arg;
    if (!ask(c, clock_monotonic_ms()))
        _exit(1);
    atomic_store(&shared->up, true);
    for (;;)
        pause();
}

TEST(a_probe_that_is_killed_is_given_up)
{
    struct breaker *c = breaker_new(conf->runtime_dir, OWNER);
    open_it(c, clock_monotonic_ms());
    sleep_us((BREAKER_PAUSE_MS + 1) * 1000);
    const int64_t begun = clock_monotonic_ms();
    pid_t prober = process_start(probe_and_hang, NULL);
    while (!atomic_load(&shared->up))
        sleep_us(100);
    process_kill(prober);
    while (!ask(c, clock_monotonic_ms()))
        sleep_us(1000);
    assert_true(clock_monotonic_ms() - begun >= PROBE_MS);
    breaker_report(c, clock_monotonic_ms(), true);
    assert_true(ask(c, clock_monotonic_ms()));
    breaker_free(c);
}

static void fail_and_recover(void *arg)
{
    struct breaker *c = arg;
    int64_t now = 1000;
    for (unsigned n = 0; n < BREAKER_FAILURES; n++) {
        ask(c, now);
        breaker_report(c, now, false);
    }
    now += BREAKER_PAUSE_MS;
    ask(c, now);
    breaker_report(c, now, false);
    now += 2 * BREAKER_PAUSE_MS;
    ask(c, now);
    breaker_report(c, now, true);
    ask(c, now);
    breaker_report(c, now, false);
    breaker_report(c, now, true);
}

/* The breaker's file, mapped. */
static unsigned char *map_file(size_t *len)
{
    int fd = open(temp_path(conf, "circuit"), O_RDWR);
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
static void check_working(struct breaker *c, int64_t now)
{
    now += BREAKER_PAUSE_MAX_MS + PROBE_MS;
    assert_true(ask(c, now));
    breaker_report(c, now, true);
    assert_int_equal(breaker_open_ms(c, now), 0);
    now = open_it(c, now);
    assert_true(ask(c, now));
    breaker_report(c, now, true);
    assert_true(ask(c, now));
}

/* A process can be killed after any of its writes. */
TEST(killed_at_each_change)
{
    /* 5 failures and 2 to open, probe, 2 for its failure, probe, 3 to close, a
     * failure, forgotten. */
    const unsigned changes = BREAKER_FAILURES + 11;
    for (unsigned n = 1; n <= changes + 1; n++) {
        size_t len;
        struct breaker *c = breaker_new(conf->runtime_dir, OWNER);
        const unsigned char *file = map_file(&len);
        assert_int_equal(
            process_kill_at_change(fail_and_recover, c, file, len, n),
            n <= changes);
        const bool open = n >= BREAKER_FAILURES && n < BREAKER_FAILURES + 8;
        assert_int_equal(breaker_open_ms(c, 1000) > 0, open);
        check_working(c, 1000 + 3 * BREAKER_PAUSE_MS);
        munmap((void *)file, len);
        breaker_free(c);
        assert_int_equal(unlink(temp_path(conf, "circuit")), 0);
    }
}

/* ---- An outage ------------------------------------------------------- */

/* Calls a store that takes some time, and twenty times as long while it is
 * away. */
static void call_on(void *arg)
{
    struct breaker *c = breaker_new(conf->runtime_dir, OWNER);
    (void)arg;
    while (!atomic_load(&shared->stop)) {
        if (!ask(c, clock_monotonic_ms())) {
            atomic_fetch_add(&shared->refused, 1);
            sleep_us(1000);
            continue;
        }
        const bool up = atomic_load(&shared->up);
        atomic_fetch_add(&shared->calls, 1);
        sleep_us(up ? 1000 : 20000);
        breaker_report(c, clock_monotonic_ms(), up);
        if (up)
            atomic_fetch_add(&shared->answered, 1);
    }
}

static void wait_until(bool (*is_so)(struct breaker *c), struct breaker *c)
{
    while (!is_so(c))
        sleep_us(1000);
}

static bool is_open(struct breaker *c)
{
    return breaker_open_ms(c, clock_monotonic_ms()) > 0;
}

static bool is_closed(struct breaker *c)
{
    return !is_open(c);
}

static bool is_used(struct breaker *c)
{
    (void)c;
    return atomic_load(&shared->answered) > 100;
}

/* An outage of a second and a half, in which a caller dies now and then, the
 * probe too: few calls are made meanwhile, and soon after it all go on. */
TEST(an_outage)
{
    pid_t callers[CALLERS];
    struct breaker *c = breaker_new(conf->runtime_dir, OWNER);
    atomic_store(&shared->up, true);
    for (unsigned i = 0; i < CALLERS; i++)
        callers[i] = process_start(call_on, NULL);
    wait_until(is_used, c);
    atomic_store(&shared->up, false);
    wait_until(is_open, c);
    sleep_us(150000); /* what was under way comes to its end */
    const int64_t begun = clock_monotonic_ms();
    const uint64_t before = atomic_load(&shared->calls);
    const uint64_t answered = atomic_load(&shared->answered);
    for (unsigned n = 0; n < 15 || atomic_load(&shared->refused) < 500; n++) {
        sleep_us(100000);
        const unsigned victim = random_below(CALLERS);
        process_kill(callers[victim]);
        callers[victim] = process_start(call_on, NULL);
        assert_true(is_open(c));
    }
    /* The probes: after 0.25, 0.5, 1 s at the earliest; a few more if they were
     * killed, or the outage was longer. */
    assert_in_range(atomic_load(&shared->calls) - before, 1,
                    5 + (clock_monotonic_ms() - begun) / 1000);
    assert_int_equal(atomic_load(&shared->answered), answered);
    atomic_store(&shared->up, true);
    wait_until(is_closed, c);
    atomic_store(&shared->answered, 0);
    wait_until(is_used, c);
    assert_true(is_closed(c));
    atomic_store(&shared->stop, true);
    for (unsigned i = 0; i < CALLERS; i++)
        process_wait(callers[i]);
    breaker_free(c);
}
