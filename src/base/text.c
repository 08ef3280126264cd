#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool text_number(const char *s, uint64_t max, uint64_t *out)
{
    const size_t digits = strspn(s, TEXT_DIGITS);
    if (digits == 0 || digits > 20 || s[digits] != '\0')
        return false;
    errno = 0;
    const unsigned long long n = strtoull(s, NULL, 10);
    if (errno == ERANGE || n > max)
        return false;
    *out = n;
    return true;
}

bool text_decimal(const char *s, int64_t *out)
{
    char *end;
    /* strtoll() and strtold() also take spaces, signs and words: nan. */
    if (*s == '\0' || *s == '+' || s[strspn(s, TEXT_DIGITS ".-+eE")] != '\0')
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

uint64_t text_hash(const char *s)
{
    uint64_t n = 14695981039346656037u;
    for (; *s != '\0'; s++)
        n = (n ^ (unsigned char)*s) * 1099511628211u;
    return n ^ n >> 29;
}
