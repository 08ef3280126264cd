#include "aws/retry.h"

#include "base/clock.h"

void aws_retry_begin(struct aws_retry *r)
{
    r->taken = 0;
    r->attempts = 1;
    r->throttled = 0;
}

bool aws_retry_again(struct aws_retry *r, enum aws_retry_cause cause)
{
    const unsigned cost = cause == AWS_RETRY_FAILED ? AWS_RETRY_COST
                          : cause == AWS_RETRY_TIMED_OUT
                              ? AWS_RETRY_COST_TIMEOUT
                              : 0;
    if (cause == AWS_RETRY_THROTTLED) {
        r->throttled++;
        return true;
    }
    if (r->attempts >= AWS_RETRY_ATTEMPTS || cost > r->quota)
        return false;
    r->attempts++;
    r->quota -= cost;
    if (cost > 0)
        r->taken = cost;
    return true;
}

int64_t aws_retry_pause_ms(const struct aws_retry *r, uint32_t random)
{
    const uint64_t max =
        r->throttled > 0 ? AWS_RETRY_THROTTLED_MAX_MS : AWS_RETRY_MAX_MS;
    uint64_t most = AWS_RETRY_BASE_MS;
    for (uint64_t n = 2; n < (uint64_t)r->attempts + r->throttled && most < max;
         n++)
        most *= 2;
    if (most > max)
        most = max;
    return (int64_t)(((most + 1) * random) >> 32);
}

void aws_retry_succeeded(struct aws_retry *r)
{
    const unsigned back = r->taken > 0 ? r->taken : AWS_RETRY_REFUND;
    const unsigned room = AWS_RETRY_QUOTA - r->quota;
    r->quota += back < room ? back : room;
    r->taken = 0;
}

bool aws_retry_is_passing(const struct http_client_answer *answer)
{
    return answer->status == 429 || answer->status >= 500;
}

bool aws_retry_pause(const struct aws_retry *r, int64_t deadline)
{
    const int64_t ms = aws_retry_pause_ms(r, clock_jitter());
    if (clock_monotonic_ms() + ms + AWS_RETRY_LEAST_MS > deadline)
        return false;
    clock_pause_ms(ms);
    return true;
}

enum result aws_retry_send(const struct aws_source_request *request,
                           const struct aws_retry_call *call,
                           struct http_client_answer *answer)
{
    bool (*is_passing)(const struct http_client_answer *) =
        call->is_passing != NULL ? call->is_passing : aws_retry_is_passing;
    struct http_client_request http = call->http;
    struct aws_retry retry = {.quota = AWS_RETRY_QUOTA};
    enum result r;
    bool passing;
    aws_retry_begin(&retry);
    do {
        http.deadline = clock_monotonic_ms() + call->timeout;
        if (http.deadline > request->deadline)
            http.deadline = request->deadline;
        r = http_client_send(request->http, &http, answer);
        passing =
            r == RESULT_UNAVAILABLE || (r == RESULT_OK && is_passing(answer));
    } while (passing && retry.attempts < call->attempts &&
             aws_retry_again(&retry, http_client_timed_out(request->http)
                                         ? AWS_RETRY_TIMED_OUT
                                         : AWS_RETRY_FAILED) &&
             aws_retry_pause(&retry, request->deadline));
    /* For a source of credentials: such a URL was configured, and what is too
     * large is not an answer of the service. */
    return r == RESULT_INVALID   ? RESULT_DENIED
           : r == RESULT_CORRUPT ? RESULT_UNAVAILABLE
                                 : r;
}
