/* What a worker has for its requests. */
#ifndef CURT_APP_H
#define CURT_APP_H

#include "config/conf.h"
#include "service/cache.h"
#include "service/hits.h"
#include "service/hostlist.h"
#include "service/limits.h"
#include "store/store.h"

struct app {
    const struct conf *conf;
    struct store *store;
    struct hits *hits;     /* NULL: there is no journal */
    struct cache *cache;   /* NULL: there is no cache */
    struct limits *limits; /* NULL: nothing is limited */
    struct hostlist hosts[HOSTLIST_KINDS];
    int64_t deadline;      /* of the store, for the request under way */
    const char *client;    /* whose UNKNOWN_LIMIT holds; NULL: no one's */
    struct limits_met met; /* by the request under way */
    bool hits_failed;      /* to open, when it was tried last */
    bool cache_failed;
    bool limits_failed;
    bool plan_noted;   /* a key whose plan does not exist was logged */
    int64_t reopen_ms; /* when it is tried again */
    int64_t touch_ms;  /* when the use of API keys is recorded again */
};

#endif
