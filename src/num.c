#include "num.h"

#include <stddef.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool num_parse(const char *s, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    size_t digits = 0;
    for (; is_digit(s[digits]) && digits < 20; digits++) {
        unsigned digit = (unsigned)(s[digits] - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    if (digits == 0 || s[digits] != '\0' || n > max)
        return false;
    *out = n;
    return true;
}

/* The digits of a decimal number and where its point is: 0.DIGITS * 10^point,
 * as many digits as int64_t can hold and one more. */
struct decimal {
    bool negative;
    char digits[20];
    size_t count;
    long point;
};

/* Reads "E[+-]DIGITS" at *s into *exponent; a huge one is cut to +-1000, which
 * is as far beyond int64_t. */
static bool read_exponent(const char **s, long *exponent)
{
    const char *p = *s + 1;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    if (!is_digit(*p))
        return false;
    long n = 0;
    for (; is_digit(*p); p++)
        n = n < 1000 ? n * 10 + (*p - '0') : n;
    *exponent = negative ? -n : n;
    *s = p;
    return true;
}

static bool read_decimal(const char *s, struct decimal *d)
{
    *d = (struct decimal){.negative = *s == '-'};
    if (*s == '-')
        s++;
    bool any = false;
    bool after_point = false;
    for (; is_digit(*s) || (*s == '.' && !after_point); s++) {
        if (*s == '.') {
            after_point = true;
            continue;
        }
        any = true;
        bool leading = d->count == 0 && *s == '0';
        if (!leading && d->count < sizeof(d->digits))
            d->digits[d->count++] = *s;
        /* A digit before the point moves it right; a leading zero behind the
         * point moves it left. */
        if (!after_point && !leading)
            d->point++;
        else if (after_point && leading)
            d->point--;
    }
    long exponent = 0;
    if (any && (*s == 'e' || *s == 'E') && !read_exponent(&s, &exponent))
        return false;
    d->point += exponent;
    return any && *s == '\0';
}

bool num_parse_decimal(const char *s, int64_t *out)
{
    struct decimal d;
    if (!read_decimal(s, &d))
        return false;
    const uint64_t limit = (uint64_t)INT64_MAX + (d.negative ? 1 : 0);
    uint64_t n = 0;
    for (long i = 0; d.count > 0 && i < d.point; i++) {
        unsigned digit =
            (size_t)i < d.count ? (unsigned)(d.digits[i] - '0') : 0;
        if (n > (limit - digit) / 10) {
            *out = d.negative ? INT64_MIN : INT64_MAX;
            return true;
        }
        n = n * 10 + digit;
    }
    *out = d.negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}
