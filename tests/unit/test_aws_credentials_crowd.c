/* Credentials of many processes: one asks, whoever dies, and nobody ever gets
 * the id of one key with the secret of another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aws_credentials.h"
#include "aws_standin.h"
#include "clock.h"
#include "crew.h"
#include "log.h"

#define CROWD 8

static struct conf *conf;
static struct {
    _Atomic unsigned gate;
    _Atomic unsigned stop;
    _Atomic unsigned gets;
    _Atomic unsigned numbers[CROWD]; /* of the keys that each process got */
    _Atomic int results[CROWD];
    _Atomic int64_t took_ms[CROWD];
} * shared;
static int64_t patience_ms;

static int set_up(void **state)
{
    int r = crew_set_up(state);
    conf = *state;
    shared = crew_share(sizeof(*shared));
    standin_reset();
    patience_ms = 3000;
    assert_int_equal(setenv("HOME", conf->state_dir, 1), 0);
    return r;
}

/* In a child: gets keys once, together with the others. */
static void get_once(void *arg)
{
    unsigned i = *(unsigned *)arg;
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_keys keys;
    crew_meet(&shared->gate, CROWD);
    const int64_t start = clock_monotonic_ms();
    enum result r = aws_credentials_get(c, start + patience_ms, &keys);
    shared->took_ms[i] = clock_monotonic_ms() - start;
    shared->results[i] = (int)r;
    shared->numbers[i] = r == RESULT_OK ? standin_number(&keys) : 0;
    if (r != RESULT_OK &&
        strstr(aws_credentials_error(c), "source 4 is broken") == NULL)
        _exit(2);
    aws_credentials_free(c);
}

static void send_crowd(pid_t children[CROWD])
{
    for (unsigned i = 0; i < CROWD; i++)
        children[i] = crew_start(get_once, &i);
}

static void finish_crowd(const pid_t children[CROWD])
{
    for (unsigned i = 0; i < CROWD; i++)
        crew_finish(children[i]);
}

static void one_asks_for_all(void **state)
{
    (void)state;
    pid_t children[CROWD];
    standin_serve(STANDIN_INSTANCE, 3600);
    standins[STANDIN_INSTANCE].delay_ms = 300;
    send_crowd(children);
    finish_crowd(children);
    assert_int_equal(standin_calls(), 1);
    for (unsigned i = 0; i < CROWD; i++) {
        assert_int_equal(shared->numbers[i], 1);
        assert_in_range(shared->took_ms[i], 250, 2000);
    }
}

static void a_failure_is_that_of_all(void **state)
{
    (void)state;
    pid_t children[CROWD];
    standins[STANDIN_INSTANCE].result = RESULT_UNAVAILABLE;
    standins[STANDIN_INSTANCE].delay_ms = 500;
    send_crowd(children);
    finish_crowd(children);
    assert_int_equal(standin_calls(), 1);
    for (unsigned i = 0; i < CROWD; i++) {
        assert_int_equal(shared->results[i], RESULT_UNAVAILABLE);
        assert_in_range(shared->took_ms[i], 450, 2000);
    }
    /* Who comes a little later hears it at once, and later all is well. */
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_keys keys;
    const int64_t start = clock_monotonic_ms();
    assert_int_equal(aws_credentials_get(c, start + 3000, &keys),
                     RESULT_UNAVAILABLE);
    assert_in_range(clock_monotonic_ms() - start, 0, 200);
    assert_int_equal(standin_calls(), 1);
    standin_serve(STANDIN_INSTANCE, 3600);
    crew_sleep_us(2100000);
    assert_int_equal(aws_credentials_get(c, clock_monotonic_ms() + 3000, &keys),
                     RESULT_OK);
    aws_credentials_free(c);
}

static void a_service_that_hangs_takes_no_more_than_the_time(void **state)
{
    (void)state;
    pid_t children[CROWD];
    patience_ms = 1500;
    standins[STANDIN_INSTANCE].result = RESULT_UNAVAILABLE;
    standins[STANDIN_INSTANCE].delay_ms = 60000;
    send_crowd(children);
    finish_crowd(children);
    for (unsigned i = 0; i < CROWD; i++)
        assert_in_range(shared->took_ms[i], 1400, 2200);
}

static void the_janitor_has_more_time_than_a_worker(void **state)
{
    (void)state;
    struct aws_credentials *worker = aws_credentials_new(conf, true);
    struct aws_credentials *janitor = aws_credentials_new(conf, true);
    struct aws_keys keys;
    standins[STANDIN_INSTANCE].delay_ms = 1000;
    standins[STANDIN_INSTANCE].result = RESULT_UNAVAILABLE;
    assert_int_equal(
        aws_credentials_get(worker, clock_monotonic_ms() + 200, &keys),
        RESULT_UNAVAILABLE);
    standin_serve(STANDIN_INSTANCE, 3600);
    aws_credentials_tend(janitor, clock_monotonic_ms() + 3000);
    assert_int_equal(standin_calls(), 2);
    assert_int_equal(
        aws_credentials_get(worker, clock_monotonic_ms() + 200, &keys),
        RESULT_OK);
    assert_int_equal(standin_calls(), 2);
    aws_credentials_free(worker);
    aws_credentials_free(janitor);
}

static unsigned wait_for_call(unsigned n)
{
    while (standin_calls() < n)
        crew_sleep_us(1000);
    return standin_calls();
}

/* In a child: alone, gets keys. */
static void get_alone(void *arg)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_keys keys;
    (void)arg;
    if (aws_credentials_get(c, clock_monotonic_ms() + 3000, &keys) != RESULT_OK)
        _exit(1);
    aws_credentials_free(c);
}

static void another_takes_over_from_the_dead(void **state)
{
    (void)state;
    pid_t children[CROWD];
    standin_serve(STANDIN_INSTANCE, 3600);
    standins[STANDIN_INSTANCE].delay_ms = 20000;
    pid_t asking = crew_start(get_alone, NULL);
    wait_for_call(1);
    send_crowd(children);
    crew_sleep_us(300000);
    assert_int_equal(standin_calls(), 1);
    standins[STANDIN_INSTANCE].delay_ms = 100;
    crew_slay(asking);
    finish_crowd(children);
    assert_int_equal(standin_calls(), 2);
    for (unsigned i = 0; i < CROWD; i++) {
        assert_int_equal(shared->numbers[i], 1);
        assert_in_range(shared->took_ms[i], 0, 1500);
    }
}

static void one_that_is_stopped_stops_nobody(void **state)
{
    (void)state;
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_keys keys;
    standin_serve(STANDIN_INSTANCE, 3600);
    standins[STANDIN_INSTANCE].delay_ms = 2000;
    pid_t asking = crew_start(get_alone, NULL);
    wait_for_call(1);
    crew_freeze(asking);
    standins[STANDIN_INSTANCE].delay_ms = 0;
    const int64_t start = clock_monotonic_ms();
    assert_int_equal(aws_credentials_get(c, start + 1000, &keys), RESULT_OK);
    assert_in_range(clock_monotonic_ms() - start, 450, 900);
    assert_int_equal(standin_number(&keys), 1);
    assert_int_equal(standin_calls(), 2);
    /* It goes on, and its keys, newer ones, are for all. */
    kill(asking, SIGCONT);
    crew_finish(asking);
    assert_int_equal(aws_credentials_get(c, clock_monotonic_ms() + 3000, &keys),
                     RESULT_OK);
    assert_int_equal(standin_number(&keys), 2);
    aws_credentials_free(c);
}

/* In a child: gets keys all the time; they are whole, and never older than
 * those before. */
static void get_all_the_time(void *arg)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_keys keys;
    unsigned last = 0, index = *(unsigned *)arg;
    while (atomic_load(&shared->stop) == 0) {
        if (aws_credentials_get(c, clock_monotonic_ms() + 3000, &keys) !=
            RESULT_OK)
            _exit(1);
        unsigned number = standin_number(&keys);
        if (number == 0 || number < last ||
            aws_credentials_expires(c) <= clock_now() - 1)
            _exit(2);
        last = number;
        atomic_fetch_add(&shared->gets, 1);
    }
    shared->numbers[index] = last;
    aws_credentials_free(c);
}

static void rotation_tears_no_keys(void **state)
{
    (void)state;
    pid_t children[CROWD];
    struct aws_credentials *janitor = aws_credentials_new(conf, true);
    standin_serve(STANDIN_INSTANCE, 2);
    standins[STANDIN_INSTANCE].token_size = 4000;
    for (unsigned i = 0; i < CROWD; i++)
        children[i] = crew_start(get_all_the_time, &i);
    for (const int64_t end = clock_monotonic_ms() + 8000;
         clock_monotonic_ms() < end;) {
        aws_credentials_tend(janitor, clock_monotonic_ms() + 1000);
        crew_sleep_us(crew_random(100000));
    }
    atomic_store(&shared->stop, 1);
    for (unsigned i = 0; i < CROWD; i++)
        crew_finish(children[i]);
    /* About one a second, for all of them together. */
    assert_in_range(standin_calls(), 4, 12);
    assert_int_equal(standins[STANDIN_INSTANCE].gave, standin_calls());
    assert_true(atomic_load(&shared->gets) > 10000);
    for (unsigned i = 0; i < CROWD; i++)
        assert_true(shared->numbers[i] + 2 >= standin_calls());
    aws_credentials_free(janitor);
}

/* What a child logs, its warnings alone. */
static void tend_in_vain(void *arg)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_credentials *other = aws_credentials_new(conf, true);
    struct aws_keys keys;
    if (freopen(arg, "w", stderr) == NULL)
        _exit(1);
    log_open("janitor");
    log_set_level(LOG_LEVEL_INFO);
    if (aws_credentials_get(c, clock_monotonic_ms() + 1000, &keys) != RESULT_OK)
        _exit(1);
    standins[STANDIN_INSTANCE].result = RESULT_UNAVAILABLE;
    for (int phase = 0; phase < 2; phase++) {
        /* The first phase: renewal fails; then the keys are over, too. */
        for (const int64_t end = clock_monotonic_ms() + 7000;
             clock_monotonic_ms() < end;) {
            aws_credentials_tend(c, clock_monotonic_ms() + 1000);
            aws_credentials_tend(other, clock_monotonic_ms() + 1000);
            crew_sleep_us(20000);
        }
        standins[STANDIN_INSTANCE].result = RESULT_OK;
    }
    aws_credentials_free(c);
    aws_credentials_free(other);
}

static unsigned count_in(const char *path, const char *text)
{
    static char log[1 << 20];
    unsigned n = 0;
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    log[fread(log, 1, sizeof(log) - 1, file)] = '\0';
    fclose(file);
    for (const char *p = log; (p = strstr(p, text)) != NULL; p++)
        n++;
    return n;
}

static void a_fault_is_logged_once(void **state)
{
    (void)state;
    const char *path = crew_path(conf, "log");
    char log[256];
    snprintf(log, sizeof(log), "%s", path);
    standin_serve(STANDIN_INSTANCE, 5);
    crew_finish(crew_start(tend_in_vain, log));
    assert_int_equal(count_in(log, "level=warning"), 1);
    assert_int_equal(count_in(log, "source 4 is broken; the current "
                                   "credentials are used until "),
                     1);
    assert_int_equal(count_in(log, "there are credentials again"), 1);
    assert_int_equal(count_in(log, "secret/"), 0);
    assert_int_equal(count_in(log, "token-"), 0);
    assert_int_equal(count_in(log, "AKIA"), 0);
}

/* Counts the mappings that core dumps leave out. */
static unsigned count_left_out(void)
{
    char line[4096];
    unsigned n = 0;
    FILE *maps = fopen("/proc/self/smaps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL)
        n += strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " dd") != NULL;
    fclose(maps);
    return n;
}

static bool is_left_out(const void *address)
{
    char line[4096];
    unsigned long from, to, wanted = (unsigned long)(uintptr_t)address;
    bool inside = false, left_out = false;
    FILE *maps = fopen("/proc/self/smaps", "re");
    assert_non_null(maps);
    while (!left_out && fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = from <= wanted && wanted < to;
        if (inside && strncmp(line, "VmFlags:", 8) == 0)
            left_out = strstr(line, " dd") != NULL;
    }
    fclose(maps);
    return left_out;
}

static void core_dumps_have_no_keys(void **state)
{
    (void)state;
    const unsigned before = count_left_out();
    for (unsigned size = 0; size <= 16000; size += 16000) {
        struct aws_credentials *c = aws_credentials_new(conf, true);
        struct aws_keys keys;
        standin_serve(STANDIN_INSTANCE, 3600);
        standins[STANDIN_INSTANCE].token_size = size;
        assert_int_equal(
            aws_credentials_get(c, clock_monotonic_ms() + 1000, &keys),
            RESULT_OK);
        assert_true(is_left_out(keys.id));
        assert_true(is_left_out(keys.secret));
        assert_true(is_left_out(keys.token));
        /* The file, too. */
        assert_true(count_left_out() > before);
        aws_credentials_free(c);
        assert_int_equal(count_left_out(), before);
        assert_int_equal(unlink(crew_path(conf, "credentials")), 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, crew_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_asks_for_all),
        TEST(a_failure_is_that_of_all),
        TEST(a_service_that_hangs_takes_no_more_than_the_time),
        TEST(the_janitor_has_more_time_than_a_worker),
        TEST(another_takes_over_from_the_dead),
        TEST(one_that_is_stopped_stops_nobody),
        TEST(rotation_tears_no_keys),
        TEST(a_fault_is_logged_once),
        TEST(core_dumps_have_no_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
