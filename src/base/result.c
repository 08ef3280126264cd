#include "base/result.h"

#include <stddef.h>

const char *result_text(enum result r)
{
    static const char *const texts[] = {
        [RESULT_OK] = "ok",
        [RESULT_NOT_FOUND] = "not found",
        [RESULT_CONFLICT] = "conflict",
        [RESULT_INVALID] = "invalid",
        [RESULT_CORRUPT] = "corrupt",
        [RESULT_DENIED] = "denied",
        [RESULT_THROTTLED] = "throttled",
        [RESULT_UNAVAILABLE] = "unavailable",
        [RESULT_UNKNOWN] = "outcome unknown",
        [RESULT_INTERNAL] = "internal error",
    };
    return (size_t)r < sizeof(texts) / sizeof(texts[0]) ? texts[r]
                                                        : "unknown result";
}
