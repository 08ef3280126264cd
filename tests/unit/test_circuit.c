/* The circuit breaker: when it opens, who may probe, when it closes. */
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
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "circuit.h"
#include "clock.h"
#include "crew.h"
#include "mem.h"

#define OWNER 77
#define PROBE 3000

static int64_t wait_ms;

static enum circuit_leave ask(struct circuit *c, int64_t now)
{
    wait_ms = -1;
    return circuit_ask(c, now, PROBE, &wait_ms);
}

static void go(struct circuit *c, int64_t now, bool answered)
{
    assert_int_equal(ask(c, now), CIRCUIT_GO);
    circuit_tell(c, now, answered);
}

/* Fails as often as it takes. */
static void fail_all(struct circuit *c, int64_t now)
{
    for (unsigned n = 0; n < CIRCUIT_FAILURES; n++) {
        assert_int_equal(circuit_open_since(c, now), 0);
        go(c, now, false);
    }
    assert_int_equal(circuit_open_since(c, now), 1);
}

/* When the first question that is not refused is due; the circuit is open. */
static int64_t next_probe(struct circuit *c, int64_t now)
{
    assert_int_equal(ask(c, now), CIRCUIT_WAIT);
    assert_true(wait_ms >= 1);
    return now + wait_ms;
}

/* ---- One process ----------------------------------------------------- */

static void test_failures_in_a_row_open_it(void **state)
{
    struct circuit *c = circuit_open(*state, OWNER);
    for (unsigned n = 1; n < CIRCUIT_FAILURES; n++)
        go(c, 1000, false);
    go(c, 1000, true);
    fail_all(c, 2000);
    assert_int_equal(circuit_open_since(c, 2000), 1);
    assert_int_equal(circuit_open_since(c, 2345), 345);
    assert_int_equal(circuit_open_since(c, 1990), 1);
    int64_t due = next_probe(c, 2000);
    assert_in_range(due, 2000 + CIRCUIT_OPEN_MS / 2, 2000 + CIRCUIT_OPEN_MS);
    assert_int_equal(ask(c, due - 1), CIRCUIT_WAIT);
    assert_int_equal(wait_ms, 1);
    assert_int_equal(ask(c, due), CIRCUIT_PROBE);
    circuit_close(c);
}

static void test_probe_that_is_answered_closes_it(void **state)
{
    struct circuit *c = circuit_open(*state, OWNER);
    struct circuit *other = circuit_open(*state, OWNER);
    fail_all(c, 1000);
    int64_t due = next_probe(other, 1000);
    assert_int_equal(ask(other, due), CIRCUIT_PROBE);
    assert_int_equal(ask(c, due), CIRCUIT_WAIT);
    assert_int_equal(wait_ms, PROBE);
    circuit_tell(other, due + 20, true);
    assert_int_equal(circuit_open_since(c, due + 20), 0);
    go(c, due + 20, false); /* and counts from nothing again */
    go(other, due + 20, true);
    fail_all(c, due + 30);
    circuit_close(c);
    circuit_close(other);
}

static void test_probes_that_fail_come_more_rarely(void **state)
{
    struct circuit *c = circuit_open(*state, OWNER);
    static const int64_t most[] = {500, 1000, 2000, 4000, 5000, 5000, 5000};
    int64_t now = 1000;
    bool drawn = false;
    fail_all(c, now);
    for (unsigned n = 0; n < 40; n++) {
        const int64_t limit = most[n < 6 ? n : 6];
        int64_t due = next_probe(c, now);
        assert_in_range(due - now, limit / 2, limit);
        drawn = drawn || (due - now != limit && due - now != limit / 2);
        assert_int_equal(ask(c, due), CIRCUIT_PROBE);
        now = due + 100;
        circuit_tell(c, now, false);
        assert_int_equal(circuit_open_since(c, now), now - 1000);
    }
    assert_true(drawn);
    int64_t due = next_probe(c, now);
    assert_int_equal(ask(c, due), CIRCUIT_PROBE);
    circuit_tell(c, due, true);
    fail_all(c, due); /* the next outage begins anew */
    assert_in_range(next_probe(c, due) - due, 250, 500);
    circuit_close(c);
}

static void test_calls_from_before_count_for_nothing(void **state)
{
    struct circuit *slow = circuit_open(*state, OWNER);
    struct circuit *late = circuit_open(*state, OWNER);
    struct circuit *c = circuit_open(*state, OWNER);
    assert_int_equal(ask(slow, 900), CIRCUIT_GO);
    assert_int_equal(ask(late, 900), CIRCUIT_GO);
    fail_all(c, 1000);
    circuit_tell(slow, 1100, true); /* it is open all the same */
    assert_int_equal(circuit_open_since(c, 1100), 100);
    int64_t due = next_probe(c, 1100);
    assert_int_equal(ask(c, due), CIRCUIT_PROBE);
    circuit_tell(slow, due, true);
    assert_int_equal(ask(slow, due), CIRCUIT_WAIT);
    circuit_tell(c, due, true);
    for (unsigned n = 0; n < CIRCUIT_FAILURES; n++)
        circuit_tell(late, due + 1, false); /* timeouts of the outage */
    assert_int_equal(circuit_open_since(c, due + 1), 0);
    for (unsigned n = 1; n < CIRCUIT_FAILURES; n++)
        go(c, due + 2, false);
    circuit_tell(slow, due + 3, true); /* had no leave */
    circuit_tell(late, due + 3, true);
    go(c, due + 4, false);
    assert_int_equal(circuit_open_since(c, due + 4), 1);
    circuit_close(slow);
    circuit_close(late);
    circuit_close(c);
}

/* Opened in the very millisecond in which the period before began. */
static void test_calls_from_the_same_moment(void **state)
{
    struct circuit *slow = circuit_open(*state, OWNER);
    struct circuit *c = circuit_open(*state, OWNER);
    fail_all(c, 1000);
    int64_t due = next_probe(c, 1000);
    assert_int_equal(ask(c, due), CIRCUIT_PROBE);
    circuit_tell(c, due, true);
    assert_int_equal(ask(slow, due), CIRCUIT_GO);
    fail_all(c, due);
    circuit_tell(slow, due, true);
    circuit_tell(slow, due, false);
    assert_int_equal(ask(slow, due), CIRCUIT_WAIT);
    circuit_close(slow);
    circuit_close(c);
}

static void test_probe_that_never_tells_is_given_up(void **state)
{
    struct circuit *dead = circuit_open(*state, OWNER);
    struct circuit *c = circuit_open(*state, OWNER);
    fail_all(c, 1000);
    int64_t due = next_probe(c, 1000);
    assert_int_equal(ask(dead, due), CIRCUIT_PROBE);
    assert_int_equal(ask(c, due + PROBE - 1), CIRCUIT_WAIT);
    assert_int_equal(wait_ms, 1);
    assert_int_equal(ask(c, due + PROBE), CIRCUIT_PROBE);
    /* It was not dead: but what it says is of no weight any more. */
    circuit_tell(dead, due + PROBE, true);
    assert_int_equal(ask(dead, due + PROBE), CIRCUIT_WAIT);
    circuit_tell(dead, due + PROBE, false);
    circuit_tell(c, due + PROBE + 1, true);
    assert_int_equal(ask(dead, due + PROBE + 1), CIRCUIT_GO);
    circuit_close(dead);
    circuit_close(c);
}

static void test_probe_may_ask_again(void **state)
{
    struct circuit *c = circuit_open(*state, OWNER);
    struct circuit *other = circuit_open(*state, OWNER);
    fail_all(c, 1000);
    int64_t due = next_probe(c, 1000);
    assert_int_equal(ask(c, due), CIRCUIT_PROBE);
    assert_int_equal(ask(c, due), CIRCUIT_PROBE);
    assert_int_equal(ask(c, due + 10), CIRCUIT_PROBE);
    assert_int_equal(ask(other, due + 10), CIRCUIT_WAIT);
    assert_int_equal(wait_ms, PROBE);
    circuit_tell(c, due + 20, false);
    circuit_tell(c, due + 20, true); /* the first word counts */
    assert_int_equal(ask(c, due + 20), CIRCUIT_WAIT);
    circuit_close(c);
    circuit_close(other);
}

static void test_without_leave_nothing_counts(void **state)
{
    struct circuit *c = circuit_open(*state, OWNER);
    for (unsigned n = 0; n < 2 * CIRCUIT_FAILURES; n++)
        circuit_tell(c, 1000, false);
    assert_int_equal(circuit_open_since(c, 1000), 0);
    fail_all(c, 1000);
    int64_t due = next_probe(c, 1000);
    circuit_tell(c, due, true);
    assert_int_equal(ask(c, due), CIRCUIT_PROBE);
    circuit_close(c);
}

static void test_odd_probe_times(void **state)
{
    struct circuit *c = circuit_open(*state, OWNER);
    struct circuit *other = circuit_open(*state, OWNER);
    static const int64_t odd[][2] = {
        {0, 1}, {-5, 1}, {INT64_MIN, 1}, {500000, 500000}, {INT64_MAX, 500000}};
    fail_all(c, 1000);
    int64_t now = next_probe(c, 1000);
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        assert_int_equal(circuit_ask(c, now, odd[i][0], &wait_ms),
                         CIRCUIT_PROBE);
        assert_int_equal(circuit_ask(other, now, odd[i][0], &wait_ms),
                         CIRCUIT_WAIT);
        assert_int_equal(wait_ms, odd[i][1]);
        now += odd[i][1];
    }
    circuit_close(c);
    circuit_close(other);
}

/* The whole story at times where numbers of some size end. */
static void test_times(void **state)
{
    static const int64_t starts[] = {0,
                                     (1 << 20) - 300,
                                     (INT64_C(1) << 32) - 300,
                                     (INT64_C(1) << 38) - 300,
                                     (INT64_C(1) << 39) - 300,
                                     INT64_MAX - 100000};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        struct circuit *c = circuit_open(*state, OWNER + i);
        int64_t now = starts[i];
        fail_all(c, now);
        for (unsigned n = 0; n < 4; n++) {
            int64_t due = next_probe(c, now);
            assert_in_range(due - now, 250 << n, 500 << n);
            assert_int_equal(ask(c, due), CIRCUIT_PROBE);
            now = due + 10;
            assert_int_equal(circuit_open_since(c, now), now - starts[i]);
            circuit_tell(c, now, false);
        }
        int64_t due = next_probe(c, now);
        assert_int_equal(ask(c, due), CIRCUIT_PROBE);
        circuit_tell(c, due, true);
        go(c, due, true);
        fail_all(c, due + 1);
        circuit_close(c);
    }
}

/* Nobody asked for long: the next question is the probe, or, in a moment when
 * the clock's lowest bits repeat, after a wait of the usual length. */
static void test_nobody_asked_for_long(void **state)
{
    struct circuit *c = circuit_open(*state, OWNER);
    fail_all(c, 1000);
    int64_t due = next_probe(c, 1000);
    assert_int_equal(ask(c, due + INT64_C(1000) * 86400), CIRCUIT_PROBE);
    circuit_tell(c, due, false);
    due = next_probe(c, due);
    int64_t again = due - 1 + (1 << 20);
    if (ask(c, again) == CIRCUIT_WAIT) {
        assert_in_range(wait_ms, 1, CIRCUIT_OPEN_MAX_MS);
        again += wait_ms;
    }
    assert_int_equal(ask(c, again), CIRCUIT_PROBE);
    circuit_close(c);
}

static void test_no_circuit(void **state)
{
    (void)state;
    int64_t wait;
    assert_int_equal(circuit_ask(NULL, 1, 1, &wait), CIRCUIT_GO);
    circuit_tell(NULL, 1, false);
    assert_int_equal(circuit_open_since(NULL, 1), 0);
    circuit_close(NULL);
}

/* ---- The file -------------------------------------------------------- */

static void test_other_store(void **state)
{
    struct circuit *c = circuit_open(*state, OWNER);
    fail_all(c, 1000);
    struct circuit *same = circuit_open(*state, OWNER);
    assert_int_equal(circuit_open_since(same, 1100), 100);
    circuit_close(same);
    struct circuit *other = circuit_open(*state, OWNER + 1);
    assert_int_equal(circuit_open_since(other, 1100), 0);
    assert_int_equal(circuit_open_since(c, 1100), 100);
    circuit_close(other);
    circuit_close(c);
}

/* The same store's of another boot, as it is found after one: anything but
 * what the header must be is not trusted. */
static void test_other_boot_or_version(void **state)
{
    for (off_t at = 0; at < 32; at += 8) {
        struct circuit *c = circuit_open(*state, OWNER);
        fail_all(c, 1000);
        circuit_close(c);
        int fd = open(crew_path(*state, "circuit"), O_RDWR);
        unsigned char byte;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        c = circuit_open(*state, OWNER);
        assert_int_equal(circuit_open_since(c, 1100), 0);
        go(c, 1000, true);
        circuit_close(c);
    }
}

/* A right header, and after it what no curt has written. */
static void test_crafted_file(void **state)
{
    for (unsigned round = 0; round < 2000; round++) {
        struct circuit *c = circuit_open(*state, OWNER);
        int fd = open(crew_path(*state, "circuit"), O_RDWR);
        uint64_t word =
            (uint64_t)crew_random(UINT32_MAX) << 32 | crew_random(UINT32_MAX);
        word = round == 0 ? UINT64_MAX : word;
        assert_int_equal(pwrite(fd, &word, sizeof(word), 64), sizeof(word));
        close(fd);
        assert_true(circuit_open_since(c, 1000) >= 0);
        if (circuit_ask(c, 1000, 3000, &wait_ms) == CIRCUIT_WAIT)
            assert_in_range(wait_ms, 1, CIRCUIT_OPEN_MAX_MS);
        circuit_tell(c, 1000, round % 2 == 0);
        circuit_close(c);
    }
}

static void test_private_file(void **state)
{
    struct stat st;
    struct circuit *c = circuit_open(*state, OWNER);
    assert_int_equal(stat(crew_path(*state, "circuit"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    circuit_close(c);
}

/* Where there is no directory, each has its own. */
static void test_no_directory(void **state)
{
    struct conf conf = *(struct conf *)*state;
    conf.runtime_dir = (char[]){"/nonexistent/curt"};
    struct circuit *c = circuit_open(&conf, OWNER);
    struct circuit *other = circuit_open(&conf, OWNER);
    fail_all(c, 1000);
    go(other, 1000, true);
    int64_t due = next_probe(c, 1000);
    assert_int_equal(ask(c, due), CIRCUIT_PROBE);
    circuit_tell(c, due, true);
    go(c, due, true);
    circuit_close(c);
    circuit_close(other);
}

/* ---- Nothing is written while all is well ---------------------------- */

/* Makes the mapping of the circuit's file read-only. */
static void protect(const char *path)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[8192];
    unsigned found = 0;
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        unsigned long from, to;
        if (strstr(line, path) != NULL &&
            sscanf(line, "%lx-%lx", &from, &to) == 2 &&
            mprotect((void *)from, to - from, PROT_READ) == 0)
            found++;
    }
    if (maps == NULL || found != 1)
        _exit(2);
    fclose(maps);
}

static void succeed_without_writing(void *arg)
{
    struct circuit *c = circuit_open(arg, OWNER);
    protect(crew_path(arg, "circuit"));
    for (int64_t n = 0; n < 1000; n++) {
        if (ask(c, n) != CIRCUIT_GO)
            _exit(1);
        circuit_tell(c, n, true);
    }
}

static void test_success_writes_nothing(void **state)
{
    crew_finish(crew_start(succeed_without_writing, *state));
}

/* ---- The log --------------------------------------------------------- */

static void test_log(void **state)
{
    int fds[2], saved = dup(STDERR_FILENO);
    char text[4096];
    assert_int_equal(pipe(fds), 0);
    dup2(fds[1], STDERR_FILENO);
    log_open("worker");
    log_set_level(LOG_LEVEL_INFO);
    struct circuit *c = circuit_open(*state, OWNER);
    fail_all(c, 1000);
    int64_t due = next_probe(c, 1000);
    assert_int_equal(ask(c, due), CIRCUIT_PROBE);
    circuit_tell(c, due, false);
    assert_int_equal(ask(c, 66000), CIRCUIT_PROBE);
    circuit_tell(c, 66007, true);
    go(c, 66008, true);
    circuit_close(c);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fds[1]);
    ssize_t n = read(fds[0], text, sizeof(text) - 1);
    close(fds[0]);
    log_set_level(LOG_LEVEL_ERROR);
    assert_true(n > 0);
    text[n] = '\0';
    char *second = strchr(text, '\n');
    assert_non_null(second);
    *second++ = '\0';
    assert_non_null(strstr(text, "level=warning"));
    assert_non_null(strstr(text, "the store does not answer"));
    assert_non_null(strstr(second, "level=info"));
    assert_non_null(strstr(second, "it was away for 65.007 s\"\n"));
    assert_int_equal(strchr(second, '\n')[1], '\0');
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, crew_set_up, crew_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_failures_in_a_row_open_it),
        TEST(test_probe_that_is_answered_closes_it),
        TEST(test_probes_that_fail_come_more_rarely),
        TEST(test_calls_from_before_count_for_nothing),
        TEST(test_calls_from_the_same_moment),
        TEST(test_probe_that_never_tells_is_given_up),
        TEST(test_probe_may_ask_again),
        TEST(test_without_leave_nothing_counts),
        TEST(test_odd_probe_times),
        TEST(test_times),
        TEST(test_nobody_asked_for_long),
        TEST(test_no_circuit),
        TEST(test_other_store),
        TEST(test_other_boot_or_version),
        TEST(test_private_file),
        TEST(test_crafted_file),
        TEST(test_no_directory),
        TEST(test_success_writes_nothing),
        TEST(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
