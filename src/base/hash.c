#include "base/hash.h"

uint64_t hash_text(const char *text)
{
    uint64_t n = 14695981039346656037u;
    for (; *text != '\0'; text++)
        n = (n ^ (unsigned char)*text) * 1099511628211u;
    return n ^ n >> 29;
}
