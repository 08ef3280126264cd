#include "http/trace_id.h"

#include <openssl/rand.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

void trace_id_choose(struct trace_id_source *source, const char *header,
                     char trace[TRACE_ID_MAX + 1])
{
    size_t len = 0;
    while (header != NULL && header[len] >= 0x20 && header[len] <= 0x7e &&
           len <= TRACE_ID_MAX)
        len++;
    if (len > 0 && len <= TRACE_ID_MAX && header[len] == '\0') {
        memcpy(trace, header, len + 1);
        return;
    }
    /* The random part only has to differ from request to request, so one draw
     * from the generator serves many requests. Ids that repeat after a failure
     * mislead a log reader, no more: not worth refusing a request. */
    if (source->left == 0) {
        if (RAND_bytes(source->pool, sizeof(source->pool)) != 1)
            memset(source->pool, 0, sizeof(source->pool));
        source->left = sizeof(source->pool);
    }
    source->left -= TRACE_ID_RANDOM;
    const uint32_t now = (uint32_t)clock_now();
    unsigned char bytes[4 + TRACE_ID_RANDOM] = {
        (unsigned char)(now >> 24), (unsigned char)(now >> 16),
        (unsigned char)(now >> 8), (unsigned char)now};
    memcpy(bytes + 4, source->pool + source->left, TRACE_ID_RANDOM);
    char *end = trace + 7;
    memcpy(trace, "Root=1-", 7);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        if (i == 4)
            *end++ = '-';
        *end++ = TEXT_HEX[bytes[i] >> 4];
        *end++ = TEXT_HEX[bytes[i] & 15];
    }
    *end = '\0';
}
