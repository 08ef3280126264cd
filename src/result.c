#include "result.h"

const char *result_text(enum result r)
{
    switch (r) {
    case RESULT_OK:
        return "ok";
    case RESULT_NOT_FOUND:
        return "not found";
    case RESULT_CONFLICT:
        return "conflict";
    case RESULT_INVALID:
        return "invalid";
    case RESULT_CORRUPT:
        return "corrupt";
    case RESULT_DENIED:
        return "denied";
    case RESULT_THROTTLED:
        return "throttled";
    case RESULT_UNAVAILABLE:
        return "unavailable";
    case RESULT_UNKNOWN:
        return "outcome unknown";
    case RESULT_INTERNAL:
        return "internal error";
    }
    return "unknown result";
}
