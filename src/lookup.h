/*
 * Finding a link for a redirect: the cache first, the store when it has to be,
 * and what is known from before when the store does not answer.
 */
#ifndef CURT_LOOKUP_H
#define CURT_LOOKUP_H

#include "cache.h"
#include "conf.h"
#include "result.h"
#include "store.h"

/* What a lookup works with; cache may be NULL. */
struct lookup {
    const struct conf *conf;
    struct store *store;
    struct cache *cache;
};

/* Finds a link, which is in *out on RESULT_OK; expired links are found, too.
 * Its url can go into a Location header as it is. RESULT_NOT_FOUND: there is
 * none. RESULT_CORRUPT: it cannot be served (logged). Otherwise the store
 * failed, nothing is known from before, and store_error() says why.
 *
 * A link is served from the cache for CACHE_TTL; the store is asked once per
 * id and host, ahead of time for a link that is being read. While the store
 * fails, what is known is served for CACHE_STALE. */
enum result lookup_link(struct lookup *l, const char *short_id,
                        struct cache_entry *out) MUST_CHECK;

#endif
