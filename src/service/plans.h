/*
 * Usage plans: how many links an API key may create. A plan is the record
 * "~plan~NAME" with the members rate ("10/1": COUNT/SECONDS) and quota
 * ("1000/month"), each absent where there is no such limit; the record "~plans"
 * has the names of all plans as members of its member "names".
 *
 * What is used of a quota is the counter of the record "~quota~KEY~PERIOD".
 * Each host takes a lease from it, 1 % of the quota and at most
 * PLANS_LEASE_MAX, and spends that without the store (limits.h). So there are
 * never more links than the quota. There may be fewer: a lease that a host does
 * not spend by the end of the period, or that is lost when the machine or a
 * process ends, is not given back.
 */
#ifndef CURT_PLANS_H
#define CURT_PLANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "config/conf.h"
#include "service/limits.h"

struct app;

/* Longest name of a plan: the key of its record is at most IDS_MAX. */
#define PLANS_NAME_MAX 58

#define PLANS_INDEX "~plans"
#define PLANS_KEY   "~plan~"

/* Largest quota. */
#define PLANS_QUOTA_MAX 1000000000000

/* Largest lease; with the links of a request it fits into LIMITS_LEASE_MAX. */
#define PLANS_LEASE_MAX 1000

/* Of the calendar in UTC; a week begins on Monday (ISO 8601). */
enum plans_period { PLANS_DAY, PLANS_WEEK, PLANS_MONTH };

struct plan {
    struct conf_rate rate; /* count 0: no limit */
    uint64_t quota;        /* 0: no limit */
    enum plans_period period;
};

/* Whether name can be that of a plan: 1 to PLANS_NAME_MAX letters, digits, -, _
 * and . */
bool plans_is_name(const char *name);

/* Reads "COUNT/day", "COUNT/week" or "COUNT/month". False: it is not that, or
 * COUNT is not from 1 to PLANS_QUOTA_MAX; *plan is unchanged. */
bool plans_parse_quota(const char *text, struct plan *plan);

/* Reads the JSON text of a plan's record. False: it is not one. */
bool plans_parse(const char *text, size_t len, struct plan *plan);

/* The period that has the time now (seconds since the epoch). */
struct plans_span {
    char name[16]; /* "2026-11-26", "2026-W48", "2026-11" */
    int64_t begin, end;
};

void plans_span(enum plans_period period, int64_t now, struct plans_span *span);

/* Takes count links (at most STORE_MANY_MAX) from the plan of an API key: from
 * its rate, then from its quota. RESULT_LIMITED: one of them does not allow so
 * many. app->met is set to what there is. A plan that does not exist limits
 * nothing, which is logged. Otherwise the store failed, and whether the key may
 * create is not known. The store is queried once per lease, and not where the
 * request is refused. */
enum result plans_take(struct app *app, const char *key, const char *plan,
                       uint64_t count) MUST_CHECK;

#endif
