/* Credentials: the order of the sources, keeping, renewing and sharing. The
 * sources are stand-ins that do as they are told. */
#include "test.h"

#include "aws/credentials.h"
#include "base/clock.h"
#include "base/mem.h"
#include "fake_sources.h"
#include "processes.h"

static struct conf *conf;
static int set_up(void **state)
{
    int r = temp_conf_set_up(state);
    conf = *state;
    fake_sources_reset();
    assert_int_equal(setenv("HOME", conf->state_dir, 1), 0);
    return r;
}

EACH_TEST(set_up, temp_conf_tear_down)

static int64_t in_ms(int64_t ms)
{
    return clock_monotonic_ms() + ms;
}

/* The number of the keys that there are within a time; 0: there are none. */
static unsigned get_within(struct aws_credentials *c, int64_t ms)
{
    struct aws_keys keys;
    enum result r = aws_credentials_get(c, in_ms(ms), &keys);
    if (r != RESULT_OK) {
        if (keys.id != NULL || keys.secret != NULL || keys.token != NULL ||
            aws_credentials_error(c)[0] == '\0')
            abort();
        return 0;
    }
    if (keys_number(&keys) == 0)
        abort();
    return keys_number(&keys);
}

static unsigned get(struct aws_credentials *c)
{
    return get_within(c, 3000);
}

static void assert_refused(struct aws_credentials *c, enum result wanted,
                           const char *text)
{
    struct aws_keys keys;
    assert_int_equal(aws_credentials_get(c, in_ms(3000), &keys), wanted);
    assert_null(keys.id);
    if (strstr(aws_credentials_error(c), text) == NULL)
        assert_string_equal(aws_credentials_error(c), text);
}

/* ---- The chain --------------------------------------------------------- */

TEST(the_first_that_is_configured_serves)
{
    static const char *const names[] = {
        "", "web identity (place 1)", "shared files (place 2)",
        "container (place 3)", "instance metadata (place 4)"};
    for (unsigned i = SOURCES; i-- > SOURCE_WEB;) {
        struct aws_credentials *c = aws_credentials_new(conf, false);
        fake_source_serve(i, 0);
        assert_string_equal(aws_credentials_source(c), "");
        assert_int_equal(get(c), 1);
        assert_string_equal(aws_credentials_source(c), names[i]);
        assert_int_equal(aws_credentials_expires(c), 0);
        for (unsigned later = i + 1; later < SOURCES; later++)
            assert_int_equal(fake_sources[later].calls, 1);
        aws_credentials_free(c);
    }
}

TEST(what_was_looked_at_is_said)
{
    struct aws_credentials *c = aws_credentials_new(conf, false);
    struct aws_keys keys;
    assert_int_equal(aws_credentials_get(c, in_ms(1000), &keys), RESULT_DENIED);
    assert_string_equal(aws_credentials_error(c),
                        "no credentials; looked at: "
                        "environment (AWS_ACCESS_KEY_ID is not set); "
                        "web identity (source 1 is not there); "
                        "shared files (source 2 is not there); "
                        "container (source 3 is not there); "
                        "instance metadata (source 4 is not there)");
    assert_refused(c, RESULT_DENIED, "no credentials; looked at: environment");
    aws_credentials_free(c);
}

TEST(one_that_fails_ends_the_search)
{
    static const struct {
        enum result result, told;
    } cases[] = {{RESULT_DENIED, RESULT_DENIED},
                 {RESULT_INVALID, RESULT_DENIED},
                 {RESULT_UNAVAILABLE, RESULT_UNAVAILABLE},
                 {RESULT_THROTTLED, RESULT_UNAVAILABLE}};
    fake_source_serve(SOURCE_CONTAINER, 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct aws_credentials *c = aws_credentials_new(conf, false);
        fake_sources[SOURCE_PROFILE].result = cases[i].result;
        assert_refused(c, cases[i].told,
                       "credentials from shared files: source 2 is broken");
        assert_int_equal(fake_sources[SOURCE_CONTAINER].calls, 0);
        aws_credentials_free(c);
    }
}

TEST(keys_that_have_expired_are_not_keys)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    fake_source_serve(SOURCE_INSTANCE, -30);
    assert_refused(c, RESULT_UNAVAILABLE,
                   "credentials from instance metadata: place 4: expired at ");
    assert_int_equal(fake_source_calls(), 1);
    aws_credentials_free(c);
}

/* ---- Keys that last ---------------------------------------------------- */

TEST(the_environment_is_asked_once)
{
    static char id[] = "AKIA000000001", secret[] = "secret/000000001";
    struct aws_credentials *c = aws_credentials_new(conf, true);
    conf->aws_access_key_id = id;
    conf->aws_secret_access_key = secret;
    fake_source_serve(SOURCE_WEB, 0);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(get(c), 1);
    assert_string_equal(aws_credentials_source(c), "environment");
    assert_false(aws_credentials_expire(c));
    assert_int_equal(get(c), 1);
    aws_credentials_tend(c, in_ms(1000));
    assert_int_equal(fake_source_calls(), 0);
    assert_int_equal(access(temp_path(conf, "credentials"), F_OK), -1);
    aws_credentials_free(c);
}

static bool file_has(const char *text)
{
    static char bytes[1 << 20];
    FILE *file = fopen(temp_path(conf, "credentials"), "re");
    assert_non_null(file);
    size_t len = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    return memmem(bytes, len, text, strlen(text)) != NULL;
}

TEST(lasting_keys_are_not_shared)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_credentials *other = aws_credentials_new(conf, true);
    fake_source_serve(SOURCE_PROFILE, 0);
    assert_int_equal(get(c), 1);
    assert_int_equal(get(other), 2);
    assert_int_equal(get(c), 1);
    assert_false(file_has("secret/"));
    /* They may be others now: but not a moment after they were read. */
    assert_false(aws_credentials_expire(c));
    assert_int_equal(get(c), 1);
    sleep_us(1100000);
    assert_true(aws_credentials_expire(c));
    assert_int_equal(get(c), 3);
    assert_int_equal(get(other), 2);
    aws_credentials_free(c);
    aws_credentials_free(other);
}

/* ---- Keys that expire -------------------------------------------------- */

TEST(temporary_keys_are_shared)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_credentials *other = aws_credentials_new(conf, true);
    struct aws_credentials *alone = aws_credentials_new(conf, false);
    fake_source_serve(SOURCE_INSTANCE, 3600);
    assert_int_equal(get(c), 1);
    assert_int_equal(get(other), 1);
    assert_int_equal(get(alone), 2);
    assert_string_equal(aws_credentials_source(other),
                        "instance metadata (place 4)");
    assert_int_equal(aws_credentials_expires(other),
                     aws_credentials_expires(c));
    assert_in_range(aws_credentials_expires(c), clock_now() + 3590,
                    clock_now() + 3600);
    assert_true(file_has("secret/000000001"));
    assert_int_equal(fake_source_calls(), 2);
    aws_credentials_free(c);
    aws_credentials_free(other);
    aws_credentials_free(alone);
}

TEST(a_token_that_is_too_long_is_refused)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    fake_source_serve(SOURCE_INSTANCE, 3600);
    fake_sources[SOURCE_INSTANCE].token_size = 16384;
    assert_int_equal(get(c), 1);
    aws_credentials_free(c);
    assert_int_equal(unlink(temp_path(conf, "credentials")), 0);
    c = aws_credentials_new(conf, true);
    fake_sources[SOURCE_INSTANCE].token_size = 16385;
    assert_refused(c, RESULT_DENIED,
                   "credentials from instance metadata (place 4): too long");
    assert_false(file_has("secret/"));
    aws_credentials_free(c);
}

TEST(the_janitor_renews_and_workers_follow)
{
    struct aws_credentials *worker = aws_credentials_new(conf, true);
    struct aws_credentials *janitor = aws_credentials_new(conf, true);
    int64_t now = 0;
    fake_source_serve(SOURCE_INSTANCE, 12); /* due after 7 or 8 s */
    assert_int_equal(get(worker), 1);
    const int64_t end = aws_credentials_expires(worker);
    aws_credentials_tend(janitor, in_ms(1000));
    assert_int_equal(fake_source_calls(), 1);
    while (fake_source_calls() == 1) {
        sleep_us(20000);
        now = clock_now();
        aws_credentials_tend(janitor, in_ms(1000));
    }
    assert_in_range(now, end - 6, end - 1);
    assert_int_equal(get(worker), 2);
    assert_int_equal(fake_source_calls(), 2);
    aws_credentials_free(worker);
    aws_credentials_free(janitor);
}

TEST(a_source_without_new_ones_is_queried_until_they_expire)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    fake_source_serve(SOURCE_INSTANCE, 5);
    assert_int_equal(get(c), 1);
    for (unsigned calls = 2; calls <= 4; calls++) {
        sleep_us(1100000);
        aws_credentials_tend(c, in_ms(1000));
        assert_int_equal(fake_source_calls(), calls);
    }
    aws_credentials_free(c);
}

TEST(without_a_janitor_a_worker_renews)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    fake_source_serve(SOURCE_INSTANCE, 4);
    unsigned number = get(c);
    const int64_t end = aws_credentials_expires(c);
    while (number == 1) {
        sleep_us(20000);
        number = get(c);
    }
    assert_int_equal(number, 2);
    assert_true(clock_now() >= end);
    aws_credentials_free(c);
}

TEST(old_keys_serve_until_their_end)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    unsigned served = 0;
    fake_source_serve(SOURCE_INSTANCE, 6);
    assert_int_equal(get(c), 1);
    const int64_t end = aws_credentials_expires(c);
    fake_sources[SOURCE_INSTANCE].result = RESULT_UNAVAILABLE;
    while (clock_now() < end) {
        aws_credentials_tend(c, in_ms(500));
        unsigned number = get(c);
        if (number == 0 && clock_now() < end)
            fail_msg("keys are gone before they end");
        served += number == 1;
        sleep_us(10000);
    }
    assert_true(served > 0);
    /* Due for five seconds and failing: pauses lie between the attempts. */
    assert_in_range(fake_source_calls(), 2, 5);
    assert_refused(c, RESULT_UNAVAILABLE, "source 4 is broken");
    fake_sources[SOURCE_INSTANCE].result = RESULT_OK;
    while (get(c) == 0)
        sleep_us(10000);
    assert_int_equal(get(c), 2);
    aws_credentials_free(c);
}

/* ---- What the server says ---------------------------------------------- */

TEST(keys_that_the_server_refuses_are_replaced)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_credentials *other = aws_credentials_new(conf, true);
    assert_false(aws_credentials_expire(c));
    fake_source_serve(SOURCE_INSTANCE, 3600);
    assert_int_equal(get(c), 1);
    assert_int_equal(get(other), 1);
    sleep_us(1100000);
    assert_true(aws_credentials_expire(c));
    assert_int_equal(get(c), 2);
    /* The other one had sent a request with the old ones before. */
    assert_true(aws_credentials_expire(other));
    assert_int_equal(get(other), 2);
    assert_int_equal(fake_source_calls(), 2);
    aws_credentials_free(c);
    aws_credentials_free(other);
}

TEST(a_server_that_refuses_all_makes_no_storm)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_credentials *other = aws_credentials_new(conf, true);
    unsigned pointless = 0;
    fake_source_serve(SOURCE_INSTANCE, 3600);
    const int64_t start = clock_monotonic_ms();
    while (fake_source_calls() < 4) {
        assert_int_not_equal(get(c), 0);
        assert_int_not_equal(get(other), 0);
        pointless += !aws_credentials_expire(c);
        pointless += !aws_credentials_expire(other);
        sleep_us(2000);
    }
    assert_int_equal(fake_source_calls(), 4);
    assert_true(clock_monotonic_ms() - start >= 3000);
    assert_true(pointless > 0);
    aws_credentials_free(c);
    aws_credentials_free(other);
}

TEST(refused_keys_stay_when_there_are_no_others)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    fake_source_serve(SOURCE_INSTANCE, 3600);
    assert_int_equal(get(c), 1);
    sleep_us(1100000);
    fake_sources[SOURCE_INSTANCE].result = RESULT_UNAVAILABLE;
    assert_true(aws_credentials_expire(c));
    assert_int_equal(get(c), 1);
    assert_false(aws_credentials_expire(c));
    assert_int_equal(fake_source_calls(), 2);
    fake_sources[SOURCE_INSTANCE].result = RESULT_OK;
    sleep_us(2100000);
    assert_int_equal(get(c), 2);
    aws_credentials_free(c);
}

TEST(secrets_are_recognised)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    assert_false(aws_credentials_shown_in(c, ""));
    assert_false(aws_credentials_shown_in(c, "secret/000000001"));
    fake_source_serve(SOURCE_INSTANCE, 3600);
    assert_int_equal(get(c), 1);
    assert_true(aws_credentials_shown_in(c, "x secret/000000001 y"));
    assert_true(aws_credentials_shown_in(c, "token-000000001."));
    assert_false(aws_credentials_shown_in(c, "secret/000000002"));
    assert_false(aws_credentials_shown_in(c, "AKIA000000001"));
    aws_credentials_free(c);
}
