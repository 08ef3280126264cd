/* The time by which links are removed, while the wall clock does what it
 * likes. */
#include "test.h"

#include "base/clock.h"

#define START 1795600000
#define HOUR  3600
#define DAY   86400

/* A machine: its true time, and what is wrong with its clock. */
static struct machine {
    struct clock_measured w;
    int64_t now;
    int64_t wrong;
    int64_t booted;
    uint64_t boot;
} m;

static int begin(void **state)
{
    (void)state;
    m = (struct machine){.now = START, .booted = START - 10 * DAY, .boot = 1};
    clock_measure_step(&m.w, m.now, m.now - m.booted, m.boot);
    assert_int_equal(m.w.time, START);
    return 0;
}

EACH_TEST(begin, NULL)

/* The janitor works for so long, a step every five seconds. */
static void run(int64_t seconds)
{
    for (int64_t end = m.now + seconds; m.now < end;) {
        m.now += 5;
        clock_measure_step(&m.w, m.now + m.wrong, m.now - m.booted, m.boot);
    }
}

/* Nobody watches for so long. */
static void pause_for(int64_t seconds)
{
    m.now += seconds;
}

static void reboot_for(int64_t seconds)
{
    m.now += seconds;
    m.booted = m.now;
    m.boot++;
}

static int64_t ahead(void)
{
    return m.w.time - m.now;
}

TEST(follows_a_clock_that_is_right)
{
    run(3 * DAY);
    assert_int_equal(ahead(), 0);
    m.wrong = 3; /* adjusted by a step */
    run(30);
    assert_int_equal(ahead(), 3);
    m.wrong = 0;
    run(30);
    assert_int_equal(ahead(), 0);
}

TEST(gains_little_while_it_is_wrong)
{
    static const int64_t errors[] = {2 * HOUR, 30 * DAY, 36500LL * DAY};
    for (size_t i = 0; i < 3; i++) {
        begin(NULL);
        m.wrong = errors[i];
        run(20);
        assert_in_range(ahead(), 0, 20);
        run(HOUR);
        assert_in_range(ahead(), 0, HOUR + 20);
        m.wrong = 0;
        run(3 * HOUR);
        assert_int_equal(ahead(), 0);
    }
}

TEST(believes_after_a_day)
{
    m.wrong = 30 * DAY;
    run(DAY - 60);
    assert_in_range(ahead(), 0, DAY);
    run(120);
    assert_int_equal(ahead(), 30 * DAY);
}

TEST(flapping_starts_the_wait_again)
{
    for (int i = 0; i < 10; i++) {
        m.wrong = 30 * DAY;
        run(6 * HOUR);
        assert_in_range(ahead(), 0, 6 * HOUR);
        m.wrong = 0;
        run(7 * HOUR);
        assert_int_equal(ahead(), 0);
    }
}

TEST(wait_outlives_restarts)
{
    m.wrong = 30 * DAY;
    for (int i = 0; i < 23; i++) {
        run(HOUR);
        pause_for(10);
    }
    assert_in_range(ahead(), 0, DAY);
    run(HOUR);
    assert_int_equal(ahead(), 30 * DAY);
}

TEST(pause_does_not_shorten_the_wait)
{
    m.wrong = 30 * DAY;
    run(60);
    pause_for(20 * DAY);
    run(5);
    assert_in_range(ahead(), 0, 200);
    run(DAY / 2);
    assert_in_range(ahead(), 0, DAY);
}

TEST(pause_with_a_right_clock_costs_nothing)
{
    pause_for(90 * DAY);
    run(5);
    assert_int_equal(ahead(), 0);
    /* Wrong from its end on: the time that passed is known. */
    pause_for(30 * DAY);
    m.wrong = 30 * DAY;
    run(5);
    assert_in_range(ahead(), 0, 100);
}

TEST(machine_off_for_a_month)
{
    reboot_for(30 * DAY);
    run(60);
    assert_true(ahead() < -29 * DAY);
    run(DAY);
    assert_int_equal(ahead(), 0);
    reboot_for(300);
    run(600);
    assert_int_equal(ahead(), 0);
}

TEST(never_goes_back)
{
    m.wrong = -5 * DAY;
    run(DAY);
    assert_int_equal(m.w.time, START);
    reboot_for(60);
    run(60);
    assert_int_equal(m.w.time, START);
    m.wrong = 0;
    run(DAY + 60);
    assert_int_equal(ahead(), 0);
}

TEST(without_a_past_believes_the_clock)
{
    struct clock_measured w = {.time = 0};
    clock_measure_step(&w, START, 77, 5);
    assert_int_equal(w.time, START);
}

/* ---- The file --------------------------------------------------------- */

static char dir[64];
static char path[80];

TEST(file_keeps_all)
{
    const struct clock_measured w = {START, 123456, UINT64_MAX, 86399};
    struct clock_measured back;
    assert_true(clock_save(dir, &w));
    assert_true(clock_save(dir, &w));
    assert_true(clock_load(dir, &back));
    assert_memory_equal(&w, &back, sizeof(w));
    unlink(path);
}

TEST(file_of_garbage_is_none)
{
    static const char *const texts[] = {
        "",
        "clock 1",
        "clock 2 1795600000 1 1 0\n",
        "clock 1 1795600000 1 1 0",
        "clock 1 0 1 1 0\n",
        "clock 1 -5 1 1 0\n",
        "clock 1 9223372036854775807 1 1 0\n",
        "clock 1 1795600000 9223372036854775807 1 0\n",
        "clock 1 1795600000 1 1 86401\n",
        "clock 1 1795600000 1 1 -1\n",
        "\xff\xff\xff\n",
    };
    struct clock_measured w;
    assert_false(clock_load(dir, &w));
    for (size_t i = 0; i < COUNT(texts); i++) {
        write_file(path, texts[i]);
        assert_false(clock_load(dir, &w));
        assert_int_equal(w.time, 0);
    }
    unlink(path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_false(clock_load(dir, &w));
    unlink(path);
    assert_false(clock_save("/nonexistent", &w));
}

static int choose_path(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "%s", temp_dir());
    snprintf(path, sizeof(path), "%s/clock", dir);
    return 0;
}

ALL_TESTS(choose_path, NULL)
