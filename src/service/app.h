/* What a worker has for its requests. */
#ifndef CURT_APP_H
#define CURT_APP_H

#include "config/conf.h"
#include "service/cache.h"
#include "service/hits.h"
#include "store/store.h"

struct app {
    const struct conf *conf;
    struct store *store;
    struct hits *hits;   /* NULL: there is no journal */
    struct cache *cache; /* NULL: there is no cache */
    int64_t deadline;    /* of the store, for the request under way */
    bool hits_failed;    /* to open, when it was tried last */
    bool cache_failed;
    int64_t reopen_ms; /* when it is tried again */
};

#endif
