#include "aws_retry.h"

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
