#include "link/ids.h"

#include <openssl/rand.h>
#include <string.h>

#include "base/text.h"

/* First path segments that curt reserves for itself (DESIGN: "HTTP"). Those
 * with a character outside the alphabet cannot be ids anyway. */
static const char *const route_names[] = {"create", "health", "metrics", "rest",
                                          "ui"};

static bool is_route_name(const char *s, size_t len)
{
    for (size_t i = 0; i < sizeof(route_names) / sizeof(route_names[0]); i++)
        if (strlen(route_names[i]) == len &&
            memcmp(route_names[i], s, len) == 0)
            return true;
    return false;
}

/* Random bytes, fetched from the generator a few at a time. */
struct pool {
    unsigned char bytes[2 * IDS_MAX];
    size_t left;
};

/* A number below n (1 to 256), without modulo bias: bytes from the last,
 * incomplete range of n are dropped. */
static bool draw_below(struct pool *pool, unsigned n, unsigned *out)
{
    const unsigned limit = 256 - 256 % n;
    for (;;) {
        if (pool->left == 0) {
            if (RAND_bytes(pool->bytes, sizeof(pool->bytes)) != 1)
                return false;
            pool->left = sizeof(pool->bytes);
        }
        unsigned byte = pool->bytes[--pool->left];
        if (byte < limit) {
            *out = byte % n;
            return true;
        }
    }
}

enum result ids_draw(size_t min, size_t max, const char *letters,
                     char id[IDS_MAX + 1])
{
    const unsigned count = (unsigned)strlen(letters);
    struct pool pool = {.left = 0};
    do {
        unsigned n;
        if (!draw_below(&pool, (unsigned)(max - min + 1), &n))
            return RESULT_INTERNAL;
        size_t len = min + n;
        for (size_t i = 0; i < len; i++) {
            if (!draw_below(&pool, count, &n))
                return RESULT_INTERNAL;
            id[i] = letters[n];
        }
        id[len] = '\0';
    } while (is_route_name(id, strlen(id)));
    return RESULT_OK;
}

enum result ids_make(size_t min, size_t max, char id[IDS_MAX + 1])
{
    return ids_draw(min, max, TEXT_ALNUM, id);
}

bool ids_valid(const char *s, size_t len)
{
    if (len == 0 || len > IDS_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return !is_route_name(s, len);
}

bool ids_lower(char *id)
{
    for (char *c = id; *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c | 0x20);
    return !is_route_name(id, strlen(id));
}
