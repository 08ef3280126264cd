#include "service/plans.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "service/access.h"
#include "service/app.h"
#include "service/lookup.h"

#define DAY 86400

_Static_assert(PLANS_LEASE_MAX + STORE_MANY_MAX <= LIMITS_LEASE_MAX,
               "a lease fits");

bool plans_is_name(const char *name)
{
    return access_name_ok(name) && strlen(name) <= PLANS_NAME_MAX;
}

bool plans_parse_quota(const char *text, struct plan *plan)
{
    static const char *const names[] = {
        [PLANS_DAY] = "day", [PLANS_WEEK] = "week", [PLANS_MONTH] = "month"};
    char count[24] = "";
    uint64_t quota;
    const size_t len = strcspn(text, "/");
    if (len >= sizeof(count) || text[len] == '\0')
        return false;
    memcpy(count, text, len);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text + len + 1, names[i]) == 0 &&
            text_number(count, PLANS_QUOTA_MAX, &quota) && quota > 0) {
            plan->quota = quota;
            plan->period = (enum plans_period)i;
            return true;
        }
    return false;
}

bool plans_parse(const char *text, size_t len, struct plan *plan)
{
    json_object *record = NULL;
    *plan = (struct plan){.quota = 0};
    bool ok = json_parse(text, len, JSON_LEVELS, &record) == RESULT_OK &&
              json_object_is_type(record, json_type_object);
    const char *rate = json_text_at(record, "rate");
    const char *quota = json_text_at(record, "quota");
    ok = ok && (rate == NULL || conf_parse_rate(rate, &plan->rate)) &&
         (quota == NULL || plans_parse_quota(quota, plan));
    json_object_put(record);
    return ok;
}

void plans_span(enum plans_period period, int64_t now, struct plans_span *span)
{
    time_t t = (time_t)now;
    struct tm tm;
    gmtime_r(&t, &tm);
    (void)strftime(span->name, sizeof(span->name),
                   period == PLANS_DAY    ? "%Y-%m-%d"
                   : period == PLANS_WEEK ? "%G-W%V"
                                          : "%Y-%m",
                   &tm);
    span->begin = now - now % DAY;
    span->end = span->begin + DAY;
    if (period == PLANS_WEEK) {
        span->begin -= (tm.tm_wday + 6) % 7 * DAY;
        span->end = span->begin + (int64_t)7 * DAY;
    } else if (period == PLANS_MONTH) {
        span->begin -= (tm.tm_mday - 1) * (int64_t)DAY;
        tm = (struct tm){
            .tm_year = tm.tm_year, .tm_mon = tm.tm_mon + 1, .tm_mday = 1};
        span->end = (int64_t)timegm(&tm);
    }
}

/* Adds a lease to the counter in the store, which gives as much of it as there
 * is below the quota. Without shared memory nothing is kept: count exactly, all
 * or none. */
static enum result take_lease(struct app *app, const char *record,
                              const char *quota, const struct plan *plan,
                              const struct plans_span *span, uint64_t count,
                              enum limits_lease *taken, uint64_t *left)
{
    uint64_t lease = plan->quota / 100, total;
    lease = lease > PLANS_LEASE_MAX ? PLANS_LEASE_MAX : lease;
    lease = app->limits == NULL || lease < count ? count : lease;
    const enum result r = store_record_count(
        app->store, record, lease, span->end + DAY, app->deadline, &total);
    if (r != RESULT_OK)
        return r;
    const uint64_t before = total - lease;
    const uint64_t rest = before < plan->quota ? plan->quota - before : 0;
    const uint64_t granted = lease < rest ? lease : rest;
    limits_lease_add(app->limits, quota, (uint64_t)(clock_now() / DAY),
                     (uint64_t)(span->end / DAY), granted, rest - granted);
    *taken = granted == count ? LIMITS_LEASE_TAKEN : LIMITS_LEASE_OVER;
    *left = rest - granted;
    return RESULT_OK;
}

static enum result take_quota(struct app *app, const char *key,
                              const struct plan *plan, uint64_t count,
                              struct limits_state *state)
{
    const int64_t now = clock_now();
    const uint64_t today = (uint64_t)(now / DAY);
    struct plans_span span;
    char record[STORE_KEY_MAX + 1], quota[LIMITS_QUOTA_MAX + 1];
    plans_span(plan->period, now, &span);
    snprintf(record, sizeof(record), "~quota~%s~%s", key, span.name);
    /* Another quota of the same period has leases of its own. */
    snprintf(quota, sizeof(quota), "%s~%llu", record,
             (unsigned long long)plan->quota);
    struct limits *l = app->limits;
    enum limits_lease taken =
        limits_lease_take(l, quota, today, count, &state->remaining);
    if (taken == LIMITS_LEASE_SHORT) {
        if (!limits_lease_lock(l, quota, app->deadline))
            return store_fail(app->store, RESULT_UNAVAILABLE,
                              "another request for the quota of this key has "
                              "no answer yet");
        enum result r = RESULT_OK;
        /* Another process may have taken a lease since the look, and others
         * may spend this one first. */
        taken = limits_lease_take(l, quota, today, count, &state->remaining);
        while (r == RESULT_OK && taken == LIMITS_LEASE_SHORT) {
            r = take_lease(app, record, quota, plan, &span, count, &taken,
                           &state->remaining);
            if (r == RESULT_OK && l != NULL)
                taken = limits_lease_take(l, quota, today, count,
                                          &state->remaining);
        }
        limits_lease_unlock(l, quota);
        if (r != RESULT_OK)
            return r;
    }
    state->kind = LIMITS_QUOTA;
    state->rate =
        (struct conf_rate){plan->quota, (uint64_t)(span.end - span.begin)};
    state->reset = (uint64_t)(span.end - now);
    if (taken != LIMITS_LEASE_OVER)
        return RESULT_OK;
    state->wait = count <= plan->quota ? state->reset : 0;
    return RESULT_LIMITED;
}

enum result plans_take(struct app *app, const char *key, const char *name,
                       uint64_t count)
{
    struct limits_met *met = &app->met;
    char record[sizeof(PLANS_KEY) + PLANS_NAME_MAX];
    struct cache_entry entry;
    struct plan plan;
    met->count = 0;
    if (!app->conf->limits || name == NULL || !plans_is_name(name))
        return RESULT_OK;
    snprintf(record, sizeof(record), PLANS_KEY "%s", name);
    enum result r = lookup_entry(app, record, &entry);
    if (r == RESULT_OK && !plans_parse(entry.url, entry.url_len, &plan))
        r = store_fail(app->store, RESULT_CORRUPT,
                       "plan %s cannot be read; set it again: curt plan set",
                       name);
    if (r == RESULT_NOT_FOUND) {
        if (!app->plan_noted)
            log_warning("key %s: there is no plan %s, so nothing limits it; "
                        "others like it are not logged",
                        key, name);
        app->plan_noted = true;
        return RESULT_OK;
    }
    if (r != RESULT_OK)
        return r;
    if (plan.rate.count > 0 &&
        !limits_take(app->limits, LIMITS_KEY, key, plan.rate, count,
                     &met->states[met->count++]))
        return RESULT_LIMITED;
    return plan.quota > 0
               ? take_quota(app, key, &plan, count, &met->states[met->count++])
               : RESULT_OK;
}
