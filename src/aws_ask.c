#include "aws_ask.h"

#include "aws_retry.h"
#include "clock.h"
#include "jitter.h"

bool aws_ask_is_passing(const struct aws_http_answer *answer)
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

enum result aws_ask_send(const struct aws_source_request *request,
                         const struct aws_ask *ask,
                         struct aws_http_answer *answer)
{
    bool (*is_passing)(const struct aws_http_answer *) =
        ask->is_passing != NULL ? ask->is_passing : aws_ask_is_passing;
    struct aws_http_request http = ask->http;
    struct aws_retry retry;
    aws_retry_init(&retry);
    aws_retry_begin(&retry);
    for (unsigned attempt = 1;; attempt++) {
        http.deadline = clock_monotonic_ms() + ask->timeout;
        if (http.deadline > request->deadline)
            http.deadline = request->deadline;
        enum result r = aws_http_send(request->http, &http, answer);
        bool passing =
            r == RESULT_UNAVAILABLE || (r == RESULT_OK && is_passing(answer));
        if (!passing || attempt >= ask->attempts ||
            !aws_retry_again(&retry, aws_http_timed_out(request->http)) ||
            !pause_for(aws_retry_pause_ms(&retry, jitter_bits()),
                       request->deadline))
            return for_source(r);
    }
}
