/* Time as text. */
#include "test.h"

#include <poll.h>
#include <time.h>

#include "base/clock.h"

TEST(writes_times_of_all_ages)
{
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
    for (size_t i = 0; i < COUNT(cases); i++) {
        clock_text(cases[i].t, text);
        assert_string_equal(text, cases[i].text);
    }
}

TEST(is_utc_whatever_the_zone)
{
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

TEST(what_no_calendar_has_is_a_number)
{
    char text[CLOCK_TEXT_SIZE];
    clock_text(INT64_MAX, text);
    assert_string_equal(text, "9223372036854775807");
    clock_text(INT64_MIN, text);
    assert_string_equal(text, "-9223372036854775808");
}

TEST(runs_forward)
{
    int64_t real = clock_now();
    assert_in_range(real, time(NULL) - 1, time(NULL));
    int64_t start = clock_monotonic_ms();
    poll(NULL, 0, 30);
    int64_t passed = clock_monotonic_ms() - start;
    assert_in_range(passed, 29, 20000);
}

TEST(times_are_read)
{
    static const struct {
        const char *text;
        int64_t time;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:01Z", 1},
        {"1969-12-31T23:59:59Z", -1},
        {"2026-11-23T07:00:00Z", 1795417200},
        {"2026-11-23t07:00:00z", 1795417200},
        {"2026-11-23 07:00:00Z", 1795417200},
        {"2026-11-23T07:00:00.1Z", 1795417200},
        {"2026-11-23T07:00:00.999999999Z", 1795417200},
        {"2026-11-23T07:00:00+00:00", 1795417200},
        {"2026-11-23T07:00:00-00:00", 1795417200},
        {"2026-11-23T12:30:00+05:30", 1795417200},
        {"2026-11-22T23:00:00-08:00", 1795417200},
        {"2026-11-23T07:00:00.5+00:00", 1795417200},
        {"2000-02-29T00:00:00Z", 951782400},
        {"2024-02-29T23:59:59Z", 1709251199},
        {"2024-03-01T00:00:00Z", 1709251200},
        {"2100-02-28T23:59:59Z", 4107542399},
        {"2100-03-01T00:00:00Z", 4107542400},
        {"2016-12-31T23:59:60Z", 1483228800}, /* a leap second */
        {"2038-01-19T03:14:08Z", 2147483648},
        {"0001-01-01T00:00:00Z", -62135596800},
        {"9999-12-31T23:59:59Z", 253402300799},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t time = 42;
        if (!clock_parse(cases[i].text, &time))
            fail_msg("%s was refused", cases[i].text);
        if (time != cases[i].time)
            fail_msg("%s is %lld", cases[i].text, (long long)time);
    }
}

TEST(other_texts_are_refused)
{
    static const char *const cases[] = {
        "",
        "2026",
        "2026-11-23",
        "2026-11-23T07:00:00",
        "2026-11-23T07:00Z",
        "2026-11-23T07:00:00Zx",
        "2026-11-23T07:00:00Z ",
        " 2026-11-23T07:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-11-31T00:00:00Z",
        "2026-11-00T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T07:60:00Z",
        "2026-11-23T07:00:61Z",
        "2026-11-23T07:00:00.Z",
        "2026-11-23T07:00:00,5Z",
        "2026-11-23T07:00:00+0530",
        "2026-11-23T07:00:00+24:00",
        "2026-11-23T07:00:00+05:60",
        "2026-11-23T07:00:00+05",
        "+026-11-23T07:00:00Z",
        "2026-1-23T07:00:00Z",
        "2026/11/23T07:00:00Z",
        "12026-11-23T07:00:00Z",
        "1795417200",
        "Mon, 23 Nov 2026 07:00:00 GMT",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t time = 42;
        if (clock_parse(cases[i], &time))
            fail_msg("\"%s\" was taken", cases[i]);
        assert_int_equal(time, 42);
    }
}
