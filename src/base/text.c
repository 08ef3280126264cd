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

static inline uint64_t rotate_left(uint64_t n, unsigned bits)
{
    return n << bits | n >> (64 - bits);
}

static inline void sip_rounds(uint64_t v[4], int rounds)
{
    for (; rounds > 0; rounds--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate_left(v[1], 13) ^ v[0];
        v[3] = rotate_left(v[3], 16) ^ v[2];
        v[0] = rotate_left(v[0], 32) + v[3];
        v[2] += v[1];
        v[3] = rotate_left(v[3], 21) ^ v[0];
        v[1] = rotate_left(v[1], 17) ^ v[2];
        v[2] = rotate_left(v[2], 32);
    }
}

uint64_t text_hash_keyed(const uint64_t key[2], const void *bytes, size_t len)
{
    const unsigned char *s = bytes;
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
                     key[0] ^ 0x6c7967656e657261u,
                     key[1] ^ 0x7465646279746573u};
    for (size_t at = 0; at <= len; at += 8) {
        const size_t left = len - at;
        uint64_t word = left < 8 ? (uint64_t)len << 56 : 0;
        for (size_t i = 0; i < left && i < 8; i++)
            word |= (uint64_t)s[at + i] << 8 * i;
        v[3] ^= word;
        sip_rounds(v, 2);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
