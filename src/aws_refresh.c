#include "aws_refresh.h"

#define PAUSE_MS     1000
#define PAUSE_MAX_MS 60000

/* Longest life that is believed, in seconds, so that no sum overflows. */
#define LIFE_MAX (10 * 366 * 86400LL)

static int64_t refresh_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

struct aws_refresh_plan
aws_refresh_make(int64_t expires, struct aws_refresh_now now, uint32_t dice)
{
    struct aws_refresh_plan plan = {0};
    if (expires == 0)
        return plan;
    int64_t life =
        expires > now.s ? refresh_least(expires - now.s, LIFE_MAX) : 0;
    int64_t lead = refresh_least(AWS_REFRESH_DUE, life / 3);
    int64_t due = life - lead + dice % (lead / 3 + 1);
    int64_t must = life - refresh_least(AWS_REFRESH_MUST, life / 6);
    plan.due = now.s + due;
    plan.due_ms = now.ms + due * 1000;
    plan.must = now.s + must;
    plan.must_ms = now.ms + must * 1000;
    plan.over = expires;
    plan.over_ms = now.ms + life * 1000;
    return plan;
}

enum aws_refresh_stage aws_refresh_stage(const struct aws_refresh_plan *plan,
                                         struct aws_refresh_now now)
{
    if (plan->over == 0)
        return AWS_REFRESH_STAGE_FRESH;
    if (now.s >= plan->over || now.ms >= plan->over_ms)
        return AWS_REFRESH_STAGE_OVER;
    if (now.s >= plan->must || now.ms >= plan->must_ms)
        return AWS_REFRESH_STAGE_MUST;
    if (now.s >= plan->due || now.ms >= plan->due_ms)
        return AWS_REFRESH_STAGE_DUE;
    return AWS_REFRESH_STAGE_FRESH;
}

int64_t aws_refresh_pause(unsigned failures, bool have_keys, uint32_t dice)
{
    const int64_t max = have_keys ? PAUSE_MAX_MS : AWS_REFRESH_MEMORY_MS;
    int64_t pause = PAUSE_MS;
    for (; failures > 0 && pause < max; failures--)
        pause *= 2;
    pause = refresh_least(pause, max);
    return pause - dice % (pause / 2);
}
