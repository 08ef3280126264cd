/* The circuit breaker: when it opens, who may probe, when it closes. */
#include "test.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "aws/breaker.h"
#include "base/clock.h"
#include "base/mem.h"
#include "processes.h"

EACH_TEST(temp_conf_set_up, temp_conf_tear_down)

#define OWNER 77
#define PROBE 3000

static int64_t wait_ms;

static bool ask(struct breaker *c, int64_t now)
{
    wait_ms = -1;
    return breaker_allows(c, now, PROBE, &wait_ms);
}

static void go(struct breaker *c, int64_t now, bool answered)
{
    assert_true(ask(c, now));
    breaker_report(c, now, answered);
}

/* Fails as often as it takes. */
static void fail_all(struct breaker *c, int64_t now)
{
    for (unsigned n = 0; n < BREAKER_FAILURES; n++) {
        assert_int_equal(breaker_open_ms(c, now), 0);
        go(c, now, false);
    }
    assert_int_equal(breaker_open_ms(c, now), 1);
}

/* When the first question that is not refused is due; the breaker is open. */
static int64_t next_probe(struct breaker *c, int64_t now)
{
    assert_false(ask(c, now));
    assert_true(wait_ms >= 1);
    return now + wait_ms;
}

/* ---- One process ----------------------------------------------------- */

TEST(failures_in_a_row_open_it)
{
    struct breaker *c =
        breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
    for (unsigned n = 1; n < BREAKER_FAILURES; n++)
        go(c, 1000, false);
    go(c, 1000, true);
    fail_all(c, 2000);
    assert_int_equal(breaker_open_ms(c, 2000), 1);
    assert_int_equal(breaker_open_ms(c, 2345), 345);
    assert_int_equal(breaker_open_ms(c, 1990), 1);
    int64_t due = next_probe(c, 2000);
    assert_in_range(due, 2000 + BREAKER_PAUSE_MS / 2, 2000 + BREAKER_PAUSE_MS);
    assert_false(ask(c, due - 1));
    assert_int_equal(wait_ms, 1);
    assert_true(ask(c, due));
    breaker_free(c);
}

TEST(probe_that_is_answered_closes_it)
{
    struct breaker *c =
        breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
    struct breaker *other =
        breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
    fail_all(c, 1000);
    int64_t due = next_probe(other, 1000);
    assert_true(ask(other, due));
    assert_false(ask(c, due));
    assert_int_equal(wait_ms, PROBE);
    breaker_report(other, due + 20, true);
    assert_int_equal(breaker_open_ms(c, due + 20), 0);
    go(c, due + 20, false); /* and counts from nothing again */
    go(other, due + 20, true);
    fail_all(c, due + 30);
    breaker_free(c);
    breaker_free(other);
}

TEST(probes_that_fail_come_more_rarely)
{
    struct breaker *c =
        breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
    static const int64_t most[] = {500, 1000, 2000, 4000, 5000, 5000, 5000};
    int64_t now = 1000;
    bool drawn = false;
    fail_all(c, now);
    for (unsigned n = 0; n < 40; n++) {
        const int64_t limit = most[n < 6 ? n : 6];
        int64_t due = next_probe(c, now);
        assert_in_range(due - now, limit / 2, limit);
        drawn = drawn || (due - now != limit && due - now != limit / 2);
        assert_true(ask(c, due));
        now = due + 100;
        breaker_report(c, now, false);
        assert_int_equal(breaker_open_ms(c, now), now - 1000);
    }
    assert_true(drawn);
    int64_t due = next_probe(c, now);
    assert_true(ask(c, due));
    breaker_report(c, due, true);
    fail_all(c, due); /* the next outage begins anew */
    assert_in_range(next_probe(c, due) - due, 250, 500);
    breaker_free(c);
}

TEST(late_failures_count_for_nothing)
{
    struct breaker *late =
        breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
    struct breaker *c =
        breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
    assert_true(ask(late, 900));
    fail_all(c, 1000);
    breaker_report(late, 1100, false); /* it is open already */
    int64_t due = next_probe(c, 1100);
    assert_true(ask(c, due));
    breaker_report(c, due, true);
    for (unsigned n = 0; n < BREAKER_FAILURES; n++)
        breaker_report(late, due + 1, false); /* timeouts of the outage */
    assert_int_equal(breaker_open_ms(c, due + 1), 0);
    for (unsigned n = 1; n < BREAKER_FAILURES; n++)
        go(c, due + 2, false);
    assert_int_equal(breaker_open_ms(c, due + 2), 0);
    go(c, due + 4, false);
    assert_int_equal(breaker_open_ms(c, due + 4), 1);
    breaker_free(late);
    breaker_free(c);
}

TEST(probe_that_never_tells_is_given_up)
{
    struct breaker *dead =
        breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
    struct breaker *c =
        breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
    fail_all(c, 1000);
    int64_t due = next_probe(c, 1000);
    assert_true(ask(dead, due));
    assert_false(ask(c, due + PROBE - 1));
    assert_int_equal(wait_ms, 1);
    assert_true(ask(c, due + PROBE));
    /* It was not dead, but its failure does not end the other's turn. */
    breaker_report(dead, due + PROBE, false);
    assert_false(ask(dead, due + PROBE));
    assert_int_equal(wait_ms, PROBE);
    breaker_report(c, due + PROBE + 1, true);
    assert_true(ask(dead, due + PROBE + 1));
    breaker_free(dead);
    breaker_free(c);
}

TEST(no_breaker)
{
    int64_t wait;
    assert_true(breaker_allows(NULL, 1, 1, &wait));
    breaker_report(NULL, 1, false);
    assert_int_equal(breaker_open_ms(NULL, 1), 0);
    breaker_free(NULL);
}

/* ---- The file -------------------------------------------------------- */

TEST(other_store)
{
    struct breaker *c =
        breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
    fail_all(c, 1000);
    struct breaker *same =
        breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
    assert_int_equal(breaker_open_ms(same, 1100), 100);
    breaker_free(same);
    struct breaker *other =
        breaker_new(((struct conf *)*state)->runtime_dir, OWNER + 1);
    assert_int_equal(breaker_open_ms(other, 1100), 0);
    assert_int_equal(breaker_open_ms(c, 1100), 100);
    breaker_free(other);
    breaker_free(c);
}

/* The same store's of another boot, as it is found after one: anything but
 * what the header must be is not trusted. */
TEST(other_boot_or_version)
{
    for (off_t at = 0; at < 32; at += 8) {
        struct breaker *c =
            breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
        fail_all(c, 1000);
        breaker_free(c);
        int fd = open(temp_path(*state, "circuit"), O_RDWR);
        unsigned char byte;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        c = breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
        assert_int_equal(breaker_open_ms(c, 1100), 0);
        go(c, 1000, true);
        breaker_free(c);
    }
}

/* A right header, and after it what no curt has written. */
TEST(crafted_file)
{
    for (unsigned round = 0; round < 2000; round++) {
        struct breaker *c =
            breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
        int fd = open(temp_path(*state, "circuit"), O_RDWR);
        uint64_t words[3];
        for (size_t i = 0; i < 3; i++)
            words[i] = round == 0 ? UINT64_MAX
                                  : (uint64_t)random_below(UINT32_MAX) << 32 |
                                        random_below(UINT32_MAX);
        if (round % 4 == 1) /* near the right time, or closed */
            words[1] = random_below(10000);
        else if (round % 4 == 2)
            words[0] = random_below(BREAKER_FAILURES);
        assert_int_equal(pwrite(fd, words, sizeof(words), 64), sizeof(words));
        close(fd);
        assert_true(breaker_open_ms(c, 1000) >= 0);
        int64_t now = 1000;
        if (!ask(c, now)) {
            assert_in_range(wait_ms, 1, BREAKER_PAUSE_MAX_MS);
            now += wait_ms;
            assert_true(ask(c, now));
        }
        breaker_report(c, now, true);
        assert_int_equal(breaker_open_ms(c, now), 0);
        fail_all(c, now + 1);
        assert_true(ask(c, now + BREAKER_PAUSE_MAX_MS + 1));
        breaker_free(c);
    }
}

TEST(private_file)
{
    struct stat st;
    struct breaker *c =
        breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
    assert_int_equal(stat(temp_path(*state, "circuit"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    breaker_free(c);
}

/* Where there is no directory, each has its own. */
TEST(no_directory)
{
    struct breaker *c = breaker_new("/nonexistent/curt", OWNER);
    struct breaker *other = breaker_new("/nonexistent/curt", OWNER);
    fail_all(c, 1000);
    go(other, 1000, true);
    int64_t due = next_probe(c, 1000);
    assert_true(ask(c, due));
    breaker_report(c, due, true);
    go(c, due, true);
    breaker_free(c);
    breaker_free(other);
}

/* ---- Nothing is written while all is well ---------------------------- */

/* Makes the mapping of the breaker's file read-only. */
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
    struct breaker *c = breaker_new(((struct conf *)arg)->runtime_dir, OWNER);
    protect(temp_path(arg, "circuit"));
    for (int64_t n = 0; n < 1000; n++) {
        if (!ask(c, n))
            _exit(1);
        breaker_report(c, n, true);
    }
}

TEST(success_writes_nothing)
{
    process_wait(process_start(succeed_without_writing, *state));
}

/* ---- The log --------------------------------------------------------- */

TEST(log)
{
    char text[4096];
    start_capture();
    log_open("worker");
    log_set_level(LOG_LEVEL_INFO);
    struct breaker *c =
        breaker_new(((struct conf *)*state)->runtime_dir, OWNER);
    fail_all(c, 1000);
    int64_t due = next_probe(c, 1000);
    assert_true(ask(c, due));
    breaker_report(c, due, false);
    assert_true(ask(c, 66000));
    breaker_report(c, 66007, true);
    go(c, 66008, true);
    breaker_free(c);
    end_capture(text, sizeof(text));
    log_set_level(LOG_LEVEL_ERROR);
    char *second = strchr(text, '\n');
    assert_non_null(second);
    *second++ = '\0';
    assert_non_null(strstr(text, "level=warning"));
    assert_non_null(strstr(text, "store unavailable, failing fast"));
    assert_non_null(strstr(second, "level=info"));
    assert_non_null(strstr(second, "store available again after 65.007 s\"\n"));
    assert_int_equal(strchr(second, '\n')[1], '\0');
}
