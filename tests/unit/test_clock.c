/* Time as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"

static void writes_times_of_all_ages(void **state)
{
    (void)state;
    static const struct {
        int64_t t;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00"},
        {1543449902, "2018-11-29T00:05:02"},
        {-1, "1969-12-31T23:59:59"},
        {951782400, "2000-02-29T00:00:00"},
        {4107542399, "2100-02-28T23:59:59"},
        {4107542400, "2100-03-01T00:00:00"},
        {2147483648, "2038-01-19T03:14:08"},
        {253402300799, "9999-12-31T23:59:59"},
    };
    char text[CLOCK_TEXT_SIZE];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        clock_text(cases[i].t, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void is_utc_whatever_the_zone(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_SIZE];
    setenv("TZ", "Asia/Kolkata", 1);
    tzset();
    clock_text(1543449902, text);
    assert_string_equal(text, "2018-11-29T00:05:02");
    setenv("TZ", "<+0530>-5:30", 1);
    tzset();
    clock_text(1543449902, text);
    assert_string_equal(text, "2018-11-29T00:05:02");
    unsetenv("TZ");
    tzset();
}

static void what_no_calendar_has_is_a_number(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_SIZE];
    clock_text(INT64_MAX, text);
    assert_string_equal(text, "9223372036854775807");
    clock_text(INT64_MIN, text);
    assert_string_equal(text, "-9223372036854775808");
}

static void runs_forward(void **state)
{
    (void)state;
    int64_t real = clock_now();
    assert_in_range(real, time(NULL) - 1, time(NULL));
    int64_t start = clock_monotonic_ms();
    poll(NULL, 0, 30);
    int64_t passed = clock_monotonic_ms() - start;
    assert_in_range(passed, 29, 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_times_of_all_ages),
        cmocka_unit_test(is_utc_whatever_the_zone),
        cmocka_unit_test(what_no_calendar_has_is_a_number),
        cmocka_unit_test(runs_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
