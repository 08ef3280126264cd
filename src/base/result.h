/*
 * The one result enumeration: what an operation that can fail returns to its
 * caller. A caller can tell apart what needs a different answer (RFC 9110
 * status codes are chosen from it), and nothing finer.
 */
#ifndef CURT_RESULT_H
#define CURT_RESULT_H

#define MUST_CHECK __attribute__((warn_unused_result))

enum result {
    RESULT_OK,
    RESULT_NOT_FOUND,   /* no such link, table or file */
    RESULT_CONFLICT,    /* a conditional write met what it must not replace */
    RESULT_INVALID,     /* the input can never work; do not repeat it */
    RESULT_CORRUPT,     /* what is stored cannot be used; only this item */
    RESULT_DENIED,      /* credentials, permissions or a certificate */
    RESULT_THROTTLED,   /* the store refuses so many requests */
    RESULT_LIMITED,     /* the client has used what it may (limits.h) */
    RESULT_UNAVAILABLE, /* the store does not answer, or not in time */
    RESULT_UNKNOWN,     /* a write was sent and its answer was lost */
    RESULT_INTERNAL     /* a fault in curt or in its libraries */
};

/* A few lower-case words for a log line; never NULL, static storage. */
static inline const char *result_text(enum result r)
{
    static const char *const texts[] = {
        [RESULT_OK] = "ok",
        [RESULT_NOT_FOUND] = "not found",
        [RESULT_CONFLICT] = "conflict",
        [RESULT_INVALID] = "invalid",
        [RESULT_CORRUPT] = "corrupt",
        [RESULT_DENIED] = "denied",
        [RESULT_THROTTLED] = "throttled",
        [RESULT_LIMITED] = "over a limit",
        [RESULT_UNAVAILABLE] = "unavailable",
        [RESULT_UNKNOWN] = "outcome unknown",
        [RESULT_INTERNAL] = "internal error",
    };
    return (unsigned)r < sizeof(texts) / sizeof(texts[0]) ? texts[r]
                                                          : "unknown result";
}

#endif
