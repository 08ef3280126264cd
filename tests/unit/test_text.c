/* Numbers: exact at their limits, and nothing but numbers. */
#include "test.h"

#include "base/text.h"

TEST(reads_whole_numbers)
{
    static const struct {
        const char *text;
        uint64_t max;
        uint64_t value;
    } cases[] = {
        {"0", 0, 0},
        {"7", 7, 7},
        {"007", 7, 7},
        {"00000000000000000001", 1, 1},
        {"65536", 65536, 65536},
        {"18446744073709551615", UINT64_MAX, UINT64_MAX},
        {"09223372036854775807", UINT64_MAX, INT64_MAX},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t n = 99;
        if (!text_number(cases[i].text, cases[i].max, &n))
            fail_msg("%s was refused", cases[i].text);
        assert_int_equal(n, cases[i].value);
    }
}

TEST(refuses_all_else)
{
    static const struct {
        const char *text;
        uint64_t max;
    } cases[] = {
        {"", 9},
        {" ", 9},
        {"-1", 9},
        {"+1", 9},
        {" 1", 9},
        {"1 ", 9},
        {"1\n", 9},
        {"0x1", 9},
        {"1.0", 9},
        {"1e1", 99},
        {"1,000", 9999},
        {"a", 9},
        {"1a", 99},
        {"10", 9},
        {"1", 0},
        {"65537", 65536},
        {"\xd9\xa1", 9}, /* ARABIC-INDIC DIGIT ONE */
        {"18446744073709551616", UINT64_MAX},
        {"99999999999999999999", UINT64_MAX},
        {"000000000000000000001", 9}, /* 21 digits */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t n = 99;
        if (text_number(cases[i].text, cases[i].max, &n))
            fail_msg("\"%s\" was taken for %llu", cases[i].text,
                     (unsigned long long)n);
        assert_int_equal(n, 99);
    }
}

TEST(reads_decimals)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"0", 0},
        {"-0", 0},
        {"000", 0},
        {"1544054702", 1544054702},
        {"-5", -5},
        {"12.9", 12},
        {"-12.9", -12},
        {"0.99", 0},
        {"-0.99", 0},
        {".5", 0},
        {"5.", 5},
        {"1.5E3", 1500},
        {"1.5e+3", 1500},
        {"15e-1", 1},
        {"1e0", 1},
        {"0.0000012345e10", 12345},
        {"0.0000012345e6", 1},
        {"0.00e5", 0},
        {"123456789e-9", 0},
        {"1e18", 1000000000000000000},
        {"9223372036854775807", INT64_MAX},
        {"9223372036854775807.9", INT64_MAX},
        {"9223372036854775808", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"-9223372036854775807", INT64_MIN + 1},
        {"-9223372036854775809", INT64_MIN},
        {"1E125", INT64_MAX},
        {"-1E125", INT64_MIN},
        {"9.9999999999999999999999999999999999999E+125", INT64_MAX},
        {"1E-130", 0},
        {"0e999999999999", 0},
        {"1e99999999999999999999", INT64_MAX},
        {"-1e99999999999999999999", INT64_MIN},
        {"1e-99999999999999999999", 0},
        {"00000000000000000000000000000000000000012", 12},
        {"12.0000000000000000000000000000000000000000001", 12},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t n = 99;
        if (!text_decimal(cases[i].text, &n))
            fail_msg("%s was refused", cases[i].text);
        if (n != cases[i].value)
            fail_msg("%s was taken for %lld", cases[i].text, (long long)n);
    }
}

TEST(refuses_what_is_not_a_decimal)
{
    static const char *const cases[] = {
        "",    " ",    "-",   "+1",   "--1", ".",     "-.",    "1.2.3", " 1",
        "1 ",  "e5",   "1e",  "1e+",  "1e-", "1e+-1", "1e1.5", "nan",   "inf",
        "NaN", "0x10", "1,5", "soon", "1-",  "1e5x",  "1\n",   "never",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t n = 99;
        if (text_decimal(cases[i], &n))
            fail_msg("\"%s\" was taken for %lld", cases[i], (long long)n);
        assert_int_equal(n, 99);
    }
}
