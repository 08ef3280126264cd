#include "lookup.h"

#include <string.h>
#include <time.h>

#include "clock.h"
#include "log.h"

/* How long it is known that there is no such link, in milliseconds: long
 * enough to keep guessers off the store, short for a link that another host
 * makes just now. */
#define NEGATIVE_MS 5000

/* After the last part of CACHE_TTL has begun, one reader asks the store again
 * while the others go on with what they have. */
#define AHEAD_PERCENT 80

/* After the store failed it is not asked about a known link again before. */
#define RETRY_MS 1000

/* How long an answer of another process is waited for when an old one is there,
 * in milliseconds: a store that is slower than this counts as failing. When the
 * last question failed, it is not waited for at all. */
#define STALE_WAIT_MS 100

/* What a query may take beyond STORE_TIMEOUT, in milliseconds, before its
 * process counts as dead. */
#define MARGIN_MS 500

/* How often a process looks whether another one has the answer. */
#define POLL_US 200

/* How good an entry is, best first. */
enum freshness { FRESH, DUE, STALE, USELESS };

static enum freshness entry_freshness(const struct conf *conf,
                                      const struct cache_entry *entry,
                                      int64_t now_ms)
{
    const int64_t age = now_ms - entry->read_ms;
    int64_t ttl = (int64_t)conf->cache_ttl * 1000;
    if (!entry->exists && ttl > NEGATIVE_MS)
        ttl = NEGATIVE_MS;
    if (age < 0) /* from before the machine was started */
        return USELESS;
    if (age < ttl * AHEAD_PERCENT / 100)
        return FRESH;
    if (age < ttl)
        return DUE;
    if (age < (int64_t)conf->cache_stale * 1000 && entry->exists)
        return STALE;
    return USELESS;
}

/* Normalised here because the link may come from another program, such as the
 * tutorial's functions, or from an older curt. False: it cannot be served. */
static bool take_url(const struct link *link, struct cache_entry *out,
                     const char **reason)
{
    struct buf url;
    buf_init(&url, URL_MAX);
    const bool good = url_normalise(link->long_url, strlen(link->long_url),
                                    NULL, &url, reason) == RESULT_OK;
    if (good) {
        out->url_len = url.len;
        memcpy(out->url, url.data, url.len + 1);
    }
    buf_free(&url);
    return good;
}

/* Queries the store, and keeps the answer: *kept. An expired link is kept with
 * its URL, because the clock may go back; one that cannot be served anyway has
 * none. *kept is false where another process holds the lock of the cache. */
static enum result query_store(struct lookup *l, const char *short_id,
                               enum store_view view, struct cache_entry *out,
                               bool *kept)
{
    const uint32_t generation = cache_generation(l->cache, short_id);
    const int64_t asked_ms = clock_monotonic_ms();
    const char *reason = "";
    struct link link;
    link_init(&link);
    enum result r = store_get(l->store, short_id, view, &link);
    *out = (struct cache_entry){
        .exists = r == RESULT_OK, .ttl = link.ttl, .read_ms = asked_ms};
    *kept = true;
    if (r == RESULT_CORRUPT)
        log_error("link %s cannot be served: %s", short_id,
                  store_error(l->store));
    if (r == RESULT_OK && !take_url(&link, out, &reason) &&
        !link_expired(link.ttl, clock_now())) {
        log_error("link %s cannot be served: its long_url %s", short_id,
                  reason);
        r = RESULT_CORRUPT;
    }
    if (r == RESULT_OK || r == RESULT_NOT_FOUND)
        *kept = cache_fill(l->cache, short_id, out, generation);
    link_free(&link);
    return r;
}

/* Whether what the cache knows will do, without a question to the store. */
static bool lookup_known(struct lookup *l, const char *short_id, int64_t now_ms,
                         struct cache_entry *out, enum freshness *freshness)
{
    *freshness = USELESS;
    if (cache_get(l->cache, short_id, out))
        *freshness = entry_freshness(l->conf, out, now_ms);
    return *freshness == FRESH ||
           (*freshness != USELESS && out->retry_ms > now_ms);
}

static enum result lookup_answer(const struct cache_entry *entry)
{
    return entry->exists ? RESULT_OK : RESULT_NOT_FOUND;
}

/* The store failed: what is known from before has to do. */
static enum result fall_back(struct lookup *l, const char *short_id,
                             enum result failure, struct cache_entry *out)
{
    const int64_t now_ms = clock_monotonic_ms();
    if (!cache_get(l->cache, short_id, out) ||
        entry_freshness(l->conf, out, now_ms) == USELESS)
        return failure;
    cache_set_retry(l->cache, short_id, now_ms + RETRY_MS);
    log_warning("link %s is served as it was %lld s ago; the store failed "
                "(%s): %s",
                short_id, (long long)(now_ms - out->read_ms) / 1000,
                result_text(failure), store_error(l->store));
    return lookup_answer(out);
}

/* Queries the store for all processes that wait for this link. */
static enum result lookup_in_flight(struct lookup *l, const char *short_id,
                                    enum freshness freshness,
                                    struct cache_entry *out)
{
    bool kept;
    enum result r = query_store(
        l, short_id, freshness == USELESS ? STORE_TARGET : STORE_REFRESH, out,
        &kept);
    const bool found = r == RESULT_OK || r == RESULT_NOT_FOUND;
    cache_end_flight(l->cache, short_id, clock_monotonic_ms(),
                     found ? kept ? CACHE_FLIGHT_MINE : CACHE_FLIGHT_UNSHARED
                     : r == RESULT_CORRUPT ? CACHE_FLIGHT_CORRUPT
                                           : CACHE_FLIGHT_FAILED);
    return found || r == RESULT_CORRUPT ? r : fall_back(l, short_id, r, out);
}

enum result lookup_link(struct lookup *l, const char *short_id,
                        struct cache_entry *out)
{
    const int64_t timeout_ms = (int64_t)l->conf->store_timeout * 1000;
    const struct timespec pause = {0, POLL_US * 1000};
    const int64_t begin_ms = clock_monotonic_ms();
    const int64_t limit_ms =
        l->store->limit != 0 ? l->store->limit : begin_ms + timeout_ms;
    int64_t now_ms = begin_ms;
    enum freshness freshness;
    while (!lookup_known(l, short_id, now_ms, out, &freshness)) {
        /* After that a flight counts as dead. Who has nothing to serve must
         * still have time for a query of its own. */
        const int64_t max_ms =
            freshness == USELESS ? timeout_ms / 2 : timeout_ms + MARGIN_MS;
        switch (cache_begin_flight(l->cache, short_id, now_ms, max_ms)) {
        case CACHE_FLIGHT_MINE:
            /* Another process may have ended its flight since the look. */
            if (!lookup_known(l, short_id, now_ms, out, &freshness))
                return lookup_in_flight(l, short_id, freshness, out);
            cache_end_flight(l->cache, short_id, now_ms, CACHE_FLIGHT_MINE);
            return lookup_answer(out);
        case CACHE_FLIGHT_UNSHARED:
            return lookup_in_flight(l, short_id, freshness, out);
        case CACHE_FLIGHT_CORRUPT:
            return store_fail(l->store, RESULT_CORRUPT,
                              "another request has just found it damaged");
        case CACHE_FLIGHT_FAILED:
            if (freshness != USELESS)
                return lookup_answer(out);
            return store_fail(l->store, RESULT_UNAVAILABLE,
                              "it failed another request for this link just "
                              "now");
        case CACHE_FLIGHT_OTHERS:
            if (freshness == DUE ||
                (freshness == STALE &&
                 (out->retry_ms != 0 || now_ms - begin_ms >= STALE_WAIT_MS ||
                  now_ms >= limit_ms)))
                return lookup_answer(out);
            if (now_ms >= limit_ms)
                return store_fail(l->store, RESULT_UNAVAILABLE,
                                  "another request for this link has no "
                                  "answer yet");
        }
        nanosleep(&pause, NULL);
        now_ms = clock_monotonic_ms();
    }
    return lookup_answer(out);
}
