/* Credentials of many processes: one asks, whoever dies, and nobody ever gets
 * the id of one key with the secret of another. */
#include "test.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "aws/credentials.h"
#include "base/clock.h"
#include "base/log.h"
#include "fake_sources.h"
#include "processes.h"

#define CROWD 8

static struct conf *conf;
static struct {
    _Atomic unsigned gate;
    _Atomic unsigned stop;
    _Atomic unsigned gets;
    _Atomic unsigned numbers[CROWD]; /* of the keys that each process got */
    _Atomic int results[CROWD];
} * shared;

/* A worker waits for the one that fetches for half of it: no machine is so slow
 * that this matters. */
#define PATIENCE_MS 30000
static int64_t patience_ms = PATIENCE_MS;

static int set_up(void **state)
{
    int r = temp_conf_set_up(state);
    conf = *state;
    shared = share_memory(sizeof(*shared));
    fake_sources_reset();
    assert_int_equal(setenv("HOME", conf->state_dir, 1), 0);
    return r;
}

EACH_TEST(set_up, temp_conf_tear_down)

/* In a child: gets keys once, together with the others. */
static void get_once(void *arg)
{
    unsigned i = *(unsigned *)arg;
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_keys keys;
    process_barrier(&shared->gate, CROWD);
    enum result r =
        aws_credentials_get(c, clock_monotonic_ms() + patience_ms, &keys);
    shared->results[i] = (int)r;
    shared->numbers[i] = r == RESULT_OK ? keys_number(&keys) : 0;
    if (r != RESULT_OK &&
        strstr(aws_credentials_error(c), "source 4 is broken") == NULL)
        _exit(2);
    aws_credentials_free(c);
}

static void send_crowd(pid_t children[CROWD])
{
    for (unsigned i = 0; i < CROWD; i++)
        children[i] = process_start(get_once, &i);
}

static void finish_crowd(const pid_t children[CROWD])
{
    for (unsigned i = 0; i < CROWD; i++)
        process_wait(children[i]);
}

TEST(one_asks_for_all)
{
    pid_t children[CROWD];
    fake_source_serve(SOURCE_INSTANCE, 3600);
    fake_sources[SOURCE_INSTANCE].delay_ms = 300;
    send_crowd(children);
    finish_crowd(children);
    assert_int_equal(fake_source_calls(), 1);
    for (unsigned i = 0; i < CROWD; i++)
        assert_int_equal(shared->numbers[i], 1);
}

TEST(a_failure_is_that_of_all)
{
    pid_t children[CROWD];
    fake_sources[SOURCE_INSTANCE].result = RESULT_UNAVAILABLE;
    fake_sources[SOURCE_INSTANCE].delay_ms = 500;
    send_crowd(children);
    finish_crowd(children);
    assert_int_equal(fake_source_calls(), 1);
    for (unsigned i = 0; i < CROWD; i++)
        assert_int_equal(shared->results[i], RESULT_UNAVAILABLE);
    /* A later request gets it without another call, and later all is well. */
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_keys keys;
    assert_int_equal(
        aws_credentials_get(c, clock_monotonic_ms() + PATIENCE_MS, &keys),
        RESULT_UNAVAILABLE);
    assert_int_equal(fake_source_calls(), 1);
    fake_source_serve(SOURCE_INSTANCE, 3600);
    sleep_us(2100000);
    assert_int_equal(
        aws_credentials_get(c, clock_monotonic_ms() + PATIENCE_MS, &keys),
        RESULT_OK);
    aws_credentials_free(c);
}

TEST(a_service_that_hangs_takes_no_more_than_the_time)
{
    pid_t children[CROWD];
    patience_ms = 1500;
    fake_sources[SOURCE_INSTANCE].result = RESULT_UNAVAILABLE;
    fake_sources[SOURCE_INSTANCE].delay_ms = 60000;
    const int64_t start = clock_monotonic_ms();
    send_crowd(children);
    finish_crowd(children);
    assert_in_range(clock_monotonic_ms() - start, patience_ms, 30000);
    patience_ms = PATIENCE_MS;
}

TEST(the_janitor_has_more_time_than_a_worker)
{
    struct aws_credentials *worker = aws_credentials_new(conf, true);
    struct aws_credentials *janitor = aws_credentials_new(conf, true);
    struct aws_keys keys;
    fake_sources[SOURCE_INSTANCE].delay_ms = 1000;
    fake_sources[SOURCE_INSTANCE].result = RESULT_UNAVAILABLE;
    assert_int_equal(
        aws_credentials_get(worker, clock_monotonic_ms() + 200, &keys),
        RESULT_UNAVAILABLE);
    fake_source_serve(SOURCE_INSTANCE, 3600);
    aws_credentials_tend(janitor, clock_monotonic_ms() + 3000);
    assert_int_equal(fake_source_calls(), 2);
    assert_int_equal(
        aws_credentials_get(worker, clock_monotonic_ms() + 200, &keys),
        RESULT_OK);
    assert_int_equal(fake_source_calls(), 2);
    aws_credentials_free(worker);
    aws_credentials_free(janitor);
}

static unsigned wait_for_call(unsigned n)
{
    while (fake_source_calls() < n)
        sleep_us(1000);
    return fake_source_calls();
}

/* In a child: alone, gets keys. */
static void get_alone(void *arg)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_keys keys;
    (void)arg;
    if (aws_credentials_get(c, clock_monotonic_ms() + PATIENCE_MS, &keys) !=
        RESULT_OK)
        _exit(1);
    aws_credentials_free(c);
}

TEST(another_takes_over_from_the_dead)
{
    pid_t children[CROWD];
    fake_source_serve(SOURCE_INSTANCE, 3600);
    fake_sources[SOURCE_INSTANCE].delay_ms = 20000;
    pid_t asking = process_start(get_alone, NULL);
    wait_for_call(1);
    send_crowd(children);
    sleep_us(300000);
    assert_int_equal(fake_source_calls(), 1);
    process_kill(asking); /* first: a short delay would let it have its keys */
    fake_sources[SOURCE_INSTANCE].delay_ms = 100;
    finish_crowd(children);
    assert_int_equal(fake_source_calls(), 2);
    for (unsigned i = 0; i < CROWD; i++)
        assert_int_equal(shared->numbers[i], 1);
}

TEST(one_that_is_stopped_stops_nobody)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_keys keys;
    fake_source_serve(SOURCE_INSTANCE, 3600);
    fake_sources[SOURCE_INSTANCE].delay_ms = 2000;
    pid_t asking = process_start(get_alone, NULL);
    wait_for_call(1);
    process_stop(asking);
    fake_sources[SOURCE_INSTANCE].delay_ms = 0;
    assert_int_equal(aws_credentials_get(c, clock_monotonic_ms() + 1000, &keys),
                     RESULT_OK);
    assert_int_equal(keys_number(&keys), 1);
    assert_int_equal(fake_source_calls(), 2);
    /* It goes on, and its keys, newer ones, are for all. */
    kill(asking, SIGCONT);
    process_wait(asking);
    assert_int_equal(
        aws_credentials_get(c, clock_monotonic_ms() + PATIENCE_MS, &keys),
        RESULT_OK);
    assert_int_equal(keys_number(&keys), 2);
    aws_credentials_free(c);
}

/* In a child: gets keys all the time; they are whole, and never older than
 * those before. */
static void get_all_the_time(void *arg)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_keys keys;
    unsigned last = 0, index = *(unsigned *)arg;
    for (bool stop = false; !stop;) {
        stop = atomic_load(&shared->stop) != 0; /* then once more */
        const int64_t now = clock_now();
        if (aws_credentials_get(c, clock_monotonic_ms() + PATIENCE_MS, &keys) !=
            RESULT_OK)
            _exit(1);
        unsigned number = keys_number(&keys);
        if (number == 0 || number < last || aws_credentials_expires(c) <= now)
            _exit(2);
        last = number;
        atomic_fetch_add(&shared->gets, 1);
    }
    shared->numbers[index] = last;
    aws_credentials_free(c);
}

TEST(rotation_tears_no_keys)
{
    pid_t children[CROWD];
    struct aws_credentials *janitor = aws_credentials_new(conf, true);
    fake_source_serve(SOURCE_INSTANCE, 2);
    fake_sources[SOURCE_INSTANCE].token_size = 4000;
    for (unsigned i = 0; i < CROWD; i++)
        children[i] = process_start(get_all_the_time, &i);
    const int64_t start = clock_monotonic_ms();
    while (fake_source_calls() < 5 || atomic_load(&shared->gets) < 10000) {
        aws_credentials_tend(janitor, clock_monotonic_ms() + 1000);
        sleep_us(random_below(100000));
    }
    atomic_store(&shared->stop, 1);
    for (unsigned i = 0; i < CROWD; i++)
        process_wait(children[i]);
    /* About one a second, for all of them together. */
    assert_in_range(fake_source_calls(), 5,
                    2 + (clock_monotonic_ms() - start) * 3 / 2000);
    assert_int_equal(fake_sources[SOURCE_INSTANCE].gave, fake_source_calls());
    for (unsigned i = 0; i < CROWD; i++)
        assert_true(shared->numbers[i] + 2 >= fake_source_calls());
    aws_credentials_free(janitor);
}

/* Writes what it logs to a file. */
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
    fake_sources[SOURCE_INSTANCE].result = RESULT_UNAVAILABLE;
    /* The renewal fails; then the keys have expired; then there are others. */
    const int64_t end = aws_credentials_expires(c);
    while (aws_credentials_expires(c) == end) {
        if (clock_now() > end + 1)
            fake_source_serve(SOURCE_INSTANCE, 3600);
        aws_credentials_tend(c, clock_monotonic_ms() + 1000);
        aws_credentials_tend(other, clock_monotonic_ms() + 1000);
        sleep_us(20000);
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

TEST(a_fault_is_logged_once)
{
    const char *path = temp_path(conf, "log");
    char log[256];
    snprintf(log, sizeof(log), "%s", path);
    fake_source_serve(SOURCE_INSTANCE, 5);
    process_wait(process_start(tend_in_vain, log));
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

TEST(core_dumps_have_no_keys)
{
    const unsigned before = count_left_out();
    for (unsigned size = 0; size <= 16000; size += 16000) {
        struct aws_credentials *c = aws_credentials_new(conf, true);
        struct aws_keys keys;
        fake_source_serve(SOURCE_INSTANCE, 3600);
        fake_sources[SOURCE_INSTANCE].token_size = size;
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
        assert_int_equal(unlink(temp_path(conf, "credentials")), 0);
    }
}
