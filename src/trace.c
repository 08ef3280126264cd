#include "trace.h"

#include <openssl/rand.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"

static bool is_usable(const char *header)
{
    size_t len = 0;
    for (; header[len] != '\0'; len++)
        if (header[len] < 0x20 || header[len] > 0x7e || len == TRACE_MAX)
            return false;
    return len > 0;
}

/* The random part only has to differ from request to request, so one draw
 * from the generator serves many requests. */
static const unsigned char *trace_draw(struct trace_source *source)
{
    if (source->left == 0) {
        /* Ids that repeat after a failure here mislead a log reader, no
         * more: not worth refusing a request. */
        if (RAND_bytes(source->pool, sizeof(source->pool)) != 1)
            memset(source->pool, 0, sizeof(source->pool));
        source->left = sizeof(source->pool);
    }
    source->left -= TRACE_RANDOM;
    return source->pool + source->left;
}

static char *add_hex(char *out, const unsigned char *bytes, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        *out++ = hex[bytes[i] >> 4];
        *out++ = hex[bytes[i] & 15];
    }
    return out;
}

void trace_choose(struct trace_source *source, const char *header,
                  char trace[TRACE_MAX + 1])
{
    if (header != NULL && is_usable(header)) {
        snprintf(trace, TRACE_MAX + 1, "%s", header);
        return;
    }
    uint32_t now = (uint32_t)clock_now();
    const unsigned char epoch[] = {
        (unsigned char)(now >> 24), (unsigned char)(now >> 16),
        (unsigned char)(now >> 8), (unsigned char)now};
    char *end = trace;
    memcpy(end, "Root=1-", 7);
    end = add_hex(end + 7, epoch, sizeof(epoch));
    *end++ = '-';
    end = add_hex(end, trace_draw(source), TRACE_RANDOM);
    *end = '\0';
}
