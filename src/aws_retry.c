#include "aws_retry.h"

#include "clock.h"
#include "jitter.h"

void aws_retry_init(struct aws_retry *r)
{
    *r = (struct aws_retry){.quota = AWS_RETRY_QUOTA};
}

void aws_retry_begin(struct aws_retry *r)
{
    r->taken = 0;
    r->attempts = 1;
    r->throttled = 0;
}

bool aws_retry_again(struct aws_retry *r, bool timed_out)
{
    const unsigned cost = timed_out ? AWS_RETRY_COST_TIMEOUT : AWS_RETRY_COST;
    if (r->attempts >= AWS_RETRY_ATTEMPTS || cost > r->quota)
        return false;
    r->quota -= cost;
    r->taken = cost;
    r->attempts++;
    return true;
}

void aws_retry_throttled(struct aws_retry *r)
{
    r->throttled++;
}

bool aws_retry_mended(struct aws_retry *r)
{
    if (r->attempts >= AWS_RETRY_ATTEMPTS)
        return false;
    r->attempts++;
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

bool aws_retry_is_passing(const struct aws_http_answer *answer)
{
    return answer->status == 429 || answer->status >= 500;
}

/* False: there would be no time left afterwards. */
static bool pause_for(int64_t ms, int64_t deadline)
{
    if (clock_monotonic_ms() + ms >= deadline)
        return false;
    /* A signal cuts it short: the process may be asked to end. */
    clock_pause_ms(ms);
    return true;
}

/* What a source of credentials makes of it: such a URL was configured, and
 * what is too large is no answer of the service. */
static enum result for_source(enum result r)
{
    if (r == RESULT_INVALID)
        return RESULT_DENIED;
    return r == RESULT_CORRUPT ? RESULT_UNAVAILABLE : r;
}

enum result aws_retry_send(const struct aws_source_request *request,
                           const struct aws_retry_call *call,
                           struct aws_http_answer *answer)
{
    bool (*is_passing)(const struct aws_http_answer *) =
        call->is_passing != NULL ? call->is_passing : aws_retry_is_passing;
    struct aws_http_request http = call->http;
    struct aws_retry retry;
    aws_retry_init(&retry);
    aws_retry_begin(&retry);
    for (unsigned attempt = 1;; attempt++) {
        http.deadline = clock_monotonic_ms() + call->timeout;
        if (http.deadline > request->deadline)
            http.deadline = request->deadline;
        enum result r = aws_http_send(request->http, &http, answer);
        bool passing =
            r == RESULT_UNAVAILABLE || (r == RESULT_OK && is_passing(answer));
        if (!passing || attempt >= call->attempts ||
            !aws_retry_again(&retry, aws_http_timed_out(request->http)) ||
            !pause_for(aws_retry_pause_ms(&retry, jitter_bits()),
                       request->deadline))
            return for_source(r);
    }
}
