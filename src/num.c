#include "num.h"

#include <stdlib.h>
#include <string.h>

bool num_parse(const char *s, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    size_t digits = 0;
    for (; s[digits] >= '0' && s[digits] <= '9' && digits < 20; digits++) {
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

bool num_parse_decimal(const char *s, int64_t *out)
{
    char *end;
    /* strtoll() and strtold() also take spaces, signs and words: nan. */
    if (*s == '\0' || *s == '+' || s[strspn(s, "0123456789.-+eE")] != '\0')
        return false;
    int64_t n = strtoll(s, &end, 10); /* stops at INT64_MIN and INT64_MAX */
    if (*end != '\0' || end == s) {
        const long double d = strtold(s, &end);
        if (*end != '\0' || end == s)
            return false;
        n = d >= 0x1p63L ? INT64_MAX : d <= -0x1p63L ? INT64_MIN : (int64_t)d;
    }
    *out = n;
    return true;
}
