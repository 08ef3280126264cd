/* When keys are renewed, and how long a source that failed has its rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "aws_refresh.h"

#define START 1800000000 /* epoch seconds */
#define BOOT  5000000    /* ms since the boot */

static const struct aws_refresh_now start = {START, BOOT};

/* So many seconds later, by both clocks. */
static struct aws_refresh_now later(int64_t s)
{
    return (struct aws_refresh_now){START + s, BOOT + s * 1000};
}

static enum aws_refresh_stage stage(const struct aws_refresh_plan *plan,
                                    int64_t s)
{
    return aws_refresh_stage(plan, later(s));
}

static void an_hour_goes_by(void **state)
{
    (void)state;
    struct aws_refresh_plan plan = aws_refresh_make(START + 3600, start, 0);
    assert_int_equal(plan.over, START + 3600);
    assert_int_equal(stage(&plan, 0), AWS_REFRESH_STAGE_FRESH);
    assert_int_equal(stage(&plan, 2699), AWS_REFRESH_STAGE_FRESH);
    assert_int_equal(stage(&plan, 2700), AWS_REFRESH_STAGE_DUE);
    assert_int_equal(stage(&plan, 3539), AWS_REFRESH_STAGE_DUE);
    assert_int_equal(stage(&plan, 3540), AWS_REFRESH_STAGE_MUST);
    assert_int_equal(stage(&plan, 3599), AWS_REFRESH_STAGE_MUST);
    assert_int_equal(stage(&plan, 3600), AWS_REFRESH_STAGE_OVER);
    assert_int_equal(stage(&plan, 1000000), AWS_REFRESH_STAGE_OVER);
}

static void hosts_do_not_ask_in_step(void **state)
{
    (void)state;
    unsigned early = 0, late = 0;
    for (uint32_t dice = 0; dice < 1000; dice++) {
        struct aws_refresh_plan plan =
            aws_refresh_make(START + 3600, start, dice * 4294967);
        assert_in_range(plan.due, START + 2700, START + 3000);
        assert_int_equal(plan.due_ms - BOOT, (plan.due - START) * 1000);
        assert_int_equal(plan.must, START + 3540);
        early += plan.due < START + 2800;
        late += plan.due > START + 2900;
    }
    assert_in_range(early, 200, 500);
    assert_in_range(late, 200, 500);
}

static void short_lives_have_short_leads(void **state)
{
    (void)state;
    for (int64_t life = 1; life < 5000; life++) {
        struct aws_refresh_plan plan =
            aws_refresh_make(START + life, start, (uint32_t)life * 2654435761u);
        assert_true(plan.due <= plan.must && plan.must <= plan.over);
        /* New keys are never due at once, so that nothing asks in a loop. */
        assert_true(plan.due - START >= life - life / 3);
        assert_true(plan.due > START);
        assert_true(plan.over - plan.must <= AWS_REFRESH_MUST);
        assert_true(plan.over - plan.must <= life / 6);
    }
}

static void lasting_keys_last(void **state)
{
    (void)state;
    struct aws_refresh_plan plan = aws_refresh_make(0, start, 77);
    assert_int_equal(plan.over, 0);
    assert_int_equal(stage(&plan, INT32_MAX), AWS_REFRESH_STAGE_FRESH);
}

static void a_clock_that_steps_prolongs_nothing(void **state)
{
    (void)state;
    struct aws_refresh_plan plan = aws_refresh_make(START + 3600, start, 0);
    /* Set back by a day: the other clock goes on. */
    assert_int_equal(
        aws_refresh_stage(
            &plan, (struct aws_refresh_now){START - 86400, BOOT + 3599000}),
        AWS_REFRESH_STAGE_MUST);
    assert_int_equal(
        aws_refresh_stage(
            &plan, (struct aws_refresh_now){START - 86400, BOOT + 3600000}),
        AWS_REFRESH_STAGE_OVER);
    /* Set forward: the server's is likely to be there, too. */
    assert_int_equal(
        aws_refresh_stage(&plan,
                          (struct aws_refresh_now){START + 3600, BOOT + 10}),
        AWS_REFRESH_STAGE_OVER);
}

static void odd_ends_are_harmless(void **state)
{
    (void)state;
    static const int64_t ends[] = {1, -1, START - 5, START, INT64_MIN};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct aws_refresh_plan plan = aws_refresh_make(ends[i], start, 3);
        assert_int_equal(stage(&plan, 0), AWS_REFRESH_STAGE_OVER);
    }
    struct aws_refresh_plan plan = aws_refresh_make(INT64_MAX, start, 3);
    assert_int_equal(stage(&plan, 86400), AWS_REFRESH_STAGE_FRESH);
}

static void pauses_grow_and_are_bounded(void **state)
{
    (void)state;
    for (unsigned failures = 1; failures < 100; failures++) {
        int64_t most = failures < 6 ? 1000LL << failures : 60000;
        int64_t most_without = most < 5000 ? most : 5000;
        for (uint32_t dice = 0; dice < 100000; dice += 333) {
            assert_in_range(aws_refresh_pause(failures, true, dice),
                            most / 2 + 1, most);
            assert_in_range(aws_refresh_pause(failures, false, dice),
                            most_without / 2 + 1, most_without);
        }
        assert_int_equal(aws_refresh_pause(failures, true, 0), most);
    }
    assert_true(aws_refresh_pause(UINT32_MAX, false, 0) <=
                AWS_REFRESH_MEMORY_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_hour_goes_by),
        cmocka_unit_test(hosts_do_not_ask_in_step),
        cmocka_unit_test(short_lives_have_short_leads),
        cmocka_unit_test(lasting_keys_last),
        cmocka_unit_test(a_clock_that_steps_prolongs_nothing),
        cmocka_unit_test(odd_ends_are_harmless),
        cmocka_unit_test(pauses_grow_and_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
