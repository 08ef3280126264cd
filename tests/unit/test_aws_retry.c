/* Retries: attempts, quota and pauses. */
#include "test.h"

#include "aws/retry.h"

static struct aws_retry begun(void)
{
    struct aws_retry r;
    r = (struct aws_retry){.quota = AWS_RETRY_QUOTA};
    aws_retry_begin(&r);
    return r;
}

TEST(full_at_first)
{
    struct aws_retry r;
    r = (struct aws_retry){.quota = AWS_RETRY_QUOTA};
    assert_int_equal(r.quota, 500);
    assert_int_equal(r.taken, 0);
}

TEST(three_attempts)
{
    struct aws_retry r = begun();
    assert_true(aws_retry_again(&r, AWS_RETRY_FAILED));
    assert_true(aws_retry_again(&r, AWS_RETRY_FAILED));
    assert_false(aws_retry_again(&r, AWS_RETRY_FAILED));
    assert_int_equal(r.attempts, 3);
    assert_int_equal(r.quota, 490); /* the one refused cost nothing */
    aws_retry_begin(&r);
    assert_true(aws_retry_again(&r, AWS_RETRY_FAILED));
}

/* An attempt after something was fixed is one of the three, and is free. */
TEST(fixed)
{
    struct aws_retry r = begun();
    assert_true(aws_retry_again(&r, AWS_RETRY_FIXED));
    assert_int_equal(r.quota, 500);
    assert_true(aws_retry_again(&r, AWS_RETRY_FAILED));
    assert_false(aws_retry_again(&r, AWS_RETRY_FIXED));
    assert_int_equal(r.attempts, 3);
}

/* A throttled answer is no failure: as many attempts as the time allows, from
 * no quota, with pauses that grow to a maximum of their own. */
TEST(throttled)
{
    struct aws_retry r = begun();
    static const int64_t most[] = {50, 100, 200, 400, 400, 400};
    for (size_t i = 0; i < COUNT(most); i++) {
        assert_true(aws_retry_again(&r, AWS_RETRY_THROTTLED));
        assert_int_equal(aws_retry_pause_ms(&r, UINT32_MAX), most[i]);
        assert_int_equal(aws_retry_pause_ms(&r, 0), 0);
    }
    assert_int_equal(r.quota, 500);
    assert_int_equal(r.attempts, 1);
    assert_true(aws_retry_again(&r, AWS_RETRY_FAILED));
    r.throttled = UINT32_MAX;
    assert_int_equal(aws_retry_pause_ms(&r, UINT32_MAX), 400);
    aws_retry_begin(&r);
    assert_true(aws_retry_again(&r, AWS_RETRY_FAILED));
    assert_int_equal(aws_retry_pause_ms(&r, UINT32_MAX), 50);
}

/* The SDKs' own cases: two retries and a success end at 495. */
TEST(success_gives_last_cost_back)
{
    struct aws_retry r = begun();
    assert_true(aws_retry_again(&r, AWS_RETRY_FAILED));
    assert_int_equal(r.quota, 495);
    assert_true(aws_retry_again(&r, AWS_RETRY_FAILED));
    assert_int_equal(r.quota, 490);
    aws_retry_succeeded(&r);
    assert_int_equal(r.quota, 495);
    aws_retry_begin(&r);
    aws_retry_succeeded(&r);
    assert_int_equal(r.quota, 496);
}

TEST(timeout_costs_more)
{
    struct aws_retry r = begun();
    assert_true(aws_retry_again(&r, AWS_RETRY_TIMED_OUT));
    assert_int_equal(r.quota, 490);
    aws_retry_succeeded(&r);
    assert_int_equal(r.quota, 500);

    aws_retry_begin(&r);
    assert_true(aws_retry_again(&r, AWS_RETRY_FAILED));
    assert_true(aws_retry_again(&r, AWS_RETRY_TIMED_OUT));
    assert_int_equal(r.quota, 485);
    aws_retry_succeeded(&r);
    assert_int_equal(r.quota, 495);
}

TEST(failure_gives_nothing_back)
{
    struct aws_retry r = begun();
    assert_true(aws_retry_again(&r, AWS_RETRY_FAILED));
    aws_retry_begin(&r); /* the one before was given up */
    assert_int_equal(r.quota, 495);
    aws_retry_succeeded(&r);
    assert_int_equal(r.quota, 496);
}

TEST(never_above_full)
{
    struct aws_retry r = begun();
    aws_retry_succeeded(&r);
    assert_int_equal(r.quota, 500);
    r.quota = 498;
    aws_retry_begin(&r);
    r.taken = 5;
    aws_retry_succeeded(&r);
    assert_int_equal(r.quota, 500);
}

/* A refund belongs to one success. */
TEST(refund_once)
{
    struct aws_retry r = begun();
    assert_true(aws_retry_again(&r, AWS_RETRY_TIMED_OUT));
    assert_true(aws_retry_again(&r, AWS_RETRY_TIMED_OUT));
    aws_retry_succeeded(&r);
    assert_int_equal(r.quota, 490);
    aws_retry_succeeded(&r);
    assert_int_equal(r.quota, 491);
}

/* An outage: every request is retried until the quota is empty, then each is
 * tried once. Successes then pay for retries again. */
TEST(empty_quota)
{
    struct aws_retry r;
    unsigned retries = 0;
    r = (struct aws_retry){.quota = AWS_RETRY_QUOTA};
    for (unsigned n = 0; n < 1000; n++) {
        aws_retry_begin(&r);
        while (aws_retry_again(&r, AWS_RETRY_FAILED))
            retries++;
    }
    assert_int_equal(retries, 100);
    assert_int_equal(r.quota, 0);
    for (unsigned n = 0; n < 4; n++) {
        aws_retry_begin(&r);
        aws_retry_succeeded(&r);
    }
    aws_retry_begin(&r);
    assert_false(aws_retry_again(&r, AWS_RETRY_FAILED)); /* 4 are too few */
    assert_int_equal(r.quota, 4);
    aws_retry_begin(&r);
    aws_retry_succeeded(&r);
    aws_retry_begin(&r);
    assert_false(
        aws_retry_again(&r, AWS_RETRY_TIMED_OUT)); /* 5 are too few for that */
    assert_true(aws_retry_again(&r, AWS_RETRY_FAILED));
    assert_int_equal(r.quota, 0);
}

TEST(pauses)
{
    struct aws_retry r = begun();
    assert_true(aws_retry_again(&r, AWS_RETRY_FAILED));
    assert_int_equal(aws_retry_pause_ms(&r, 0), 0);
    assert_int_equal(aws_retry_pause_ms(&r, UINT32_MAX), 50);
    assert_int_equal(aws_retry_pause_ms(&r, UINT32_MAX / 2), 25);
    assert_true(aws_retry_again(&r, AWS_RETRY_FAILED));
    assert_int_equal(aws_retry_pause_ms(&r, 0), 0);
    assert_int_equal(aws_retry_pause_ms(&r, UINT32_MAX), 100);
    assert_int_equal(aws_retry_pause_ms(&r, UINT32_MAX / 2), 50);
}

/* However many attempts there were, the pause has its maximum. */
TEST(longest_pause)
{
    struct aws_retry r = begun();
    r.attempts = 10;
    assert_int_equal(aws_retry_pause_ms(&r, UINT32_MAX), 50 << 8);
    r.attempts = 11;
    assert_int_equal(aws_retry_pause_ms(&r, UINT32_MAX), 20000);
    r.attempts = UINT32_MAX;
    assert_int_equal(aws_retry_pause_ms(&r, UINT32_MAX), 20000);
    assert_int_equal(aws_retry_pause_ms(&r, 0), 0);
}

/* Each pause is about as likely as each other. */
TEST(jitter)
{
    unsigned seen[51] = {0};
    struct aws_retry r = begun();
    assert_true(aws_retry_again(&r, AWS_RETRY_FAILED));
    uint32_t random = 1;
    for (unsigned n = 0; n < 51000; n++) {
        random = random * 1664525 + 1013904223;
        int64_t pause = aws_retry_pause_ms(&r, random);
        assert_in_range(pause, 0, 50);
        seen[pause]++;
    }
    for (size_t i = 0; i < 51; i++)
        assert_in_range(seen[i], 800, 1200);
}
