#include "service/lookup.h"

#include <json-c/json.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "service/app.h"

/* How long it is known that a link does not exist, in milliseconds: long enough
 * to keep guessers off the store, short for a link that another host creates
 * just now. */
#define NEGATIVE_MS 5000

/* In the last part of CACHE_TTL one reader queries the store again while the
 * others are served from the cache. */
#define AHEAD_PERCENT 80

/* How long a reader with a stale entry waits for the query of another process,
 * in milliseconds. */
#define STALE_WAIT_MS 100

/* A query that takes longer than STORE_TIMEOUT and this, in milliseconds, is
 * that of a dead process. */
#define MARGIN_MS 500

/* How often a process looks for the answer to another one's query. */
#define POLL_US 200

/* How good an entry is, best first. CHANGED: the link was changed on this host,
 * so an eventually consistent read will not do either. */
enum freshness { FRESH, DUE, STALE, USELESS, CHANGED };

static enum freshness lookup_cached(const struct app *app, const char *short_id,
                                    int64_t now_ms, struct cache_entry *out)
{
    if (!cache_get(app->cache, short_id, out))
        return USELESS;
    const int64_t age = now_ms - out->read_ms;
    int64_t ttl = (int64_t)app->conf->cache_ttl * 1000;
    if (!out->exists && ttl > NEGATIVE_MS)
        ttl = NEGATIVE_MS;
    if (age < 0) /* from before the machine was started */
        return USELESS;
    if (age < ttl * AHEAD_PERCENT / 100)
        return FRESH;
    if (age < ttl)
        return DUE;
    if (age < (int64_t)app->conf->cache_stale * 1000 && out->exists)
        return STALE;
    return USELESS;
}

static enum result lookup_answer(const struct cache_entry *entry)
{
    return entry->exists ? RESULT_OK : RESULT_NOT_FOUND;
}

/* Queries the store for a link. The URL is normalised here because another
 * program may have stored it, such as the tutorial's functions, or an older
 * curt. An expired link is cached with its URL, because the clock may go back;
 * one whose URL is invalid is cached without it. */
static enum result lookup_fetch_link(struct app *app, const char *short_id,
                                     enum freshness freshness,
                                     struct cache_entry *out)
{
    const char *reason = "";
    struct link link;
    struct buf url;
    link_init(&link);
    buf_init(&url, URL_MAX);
    const enum store_view view = freshness == CHANGED   ? STORE_WHOLE
                                 : freshness == USELESS ? STORE_TARGET
                                                        : STORE_REFRESH;
    enum result r = store_get(app->store, short_id, view, app->deadline, &link);
    out->ttl = link.ttl;
    out->rules = link.rules;
    if (r == RESULT_OK &&
        url_normalise(app->conf->url_schemes, link.long_url,
                      strlen(link.long_url), NULL, &url, &reason) == RESULT_OK)
        cache_set_text(out, url.data, url.len, link.reason);
    else if (r == RESULT_OK && !link_expired(link.ttl, clock_now()))
        r = store_fail(app->store, RESULT_CORRUPT, "its long_url %s", reason);
    link_free(&link);
    buf_free(&url);
    return r;
}

static enum result lookup_fetch_record(struct app *app, const char *key,
                                       struct cache_entry *out)
{
    struct store_record record;
    enum result r =
        store_record_get(app->store, key, true, app->deadline, &record);
    if (r == RESULT_OK) {
        const char *text = json_text(record.value);
        out->ttl = record.ttl;
        if (strlen(text) <= URL_MAX)
            cache_set_text(out, text, strlen(text), NULL);
        else
            r = store_fail(app->store, RESULT_CORRUPT,
                           "the record is too long");
        json_object_put(record.value);
    }
    return r;
}

/* Queries the store and ends the flight. */
static enum result lookup_query(struct app *app, const char *id,
                                enum freshness freshness,
                                struct cache_entry *out)
{
    const uint32_t generation = cache_generation(app->cache, id);
    enum cache_flight end = CACHE_FLIGHT_MINE;
    out->read_ms = clock_monotonic_ms();
    out->ttl = LINK_NEVER;
    out->rules = (struct link_rules){0};
    out->spent = false;
    cache_set_text(out, "", 0, NULL);
    const enum result r = id[0] == '~'
                              ? lookup_fetch_record(app, id, out)
                              : lookup_fetch_link(app, id, freshness, out);
    out->exists = r == RESULT_OK;
    if (r == RESULT_CORRUPT) {
        log_error("link %s cannot be served: %s", id, store_error(app->store));
        end = CACHE_FLIGHT_CORRUPT;
    } else if (r != RESULT_OK && r != RESULT_NOT_FOUND) {
        end = CACHE_FLIGHT_FAILED;
    } else if (!cache_fill(app->cache, id, out, generation)) {
        end = CACHE_FLIGHT_UNSHARED;
    }
    const int64_t now_ms = clock_monotonic_ms();
    cache_end_flight(app->cache, id, now_ms, end);
    if (end != CACHE_FLIGHT_FAILED ||
        lookup_cached(app, id, now_ms, out) == USELESS)
        return r;
    log_warning("serving stale link %s (%lld s old): store failed (%s): %s", id,
                (long long)(now_ms - out->read_ms) / 1000, result_text(r),
                store_error(app->store));
    return lookup_answer(out);
}

enum result lookup_entry(struct app *app, const char *short_id,
                         struct cache_entry *out)
{
    const int64_t timeout_ms = (int64_t)app->conf->store_timeout * 1000;
    const int64_t begin_ms = clock_monotonic_ms();
    int64_t now_ms = begin_ms;
    for (;;) {
        enum freshness freshness = lookup_cached(app, short_id, now_ms, out);
        if (freshness == FRESH)
            return lookup_answer(out);
        if (freshness == USELESS && app->client != NULL &&
            !limits_take(app->limits, LIMITS_UNKNOWN, app->client,
                         app->conf->unknown_limit, 0, &app->met.states[0]))
            return RESULT_LIMITED; /* too many that do not exist */
        /* After that a flight counts as dead. A reader without an entry must
         * still have time for a query of its own. */
        const int64_t max_ms =
            freshness == USELESS ? timeout_ms / 2 : timeout_ms + MARGIN_MS;
        const bool late = now_ms >= app->deadline;
        bool serve = freshness == DUE;
        switch (cache_begin_flight(app->cache, short_id, now_ms, max_ms)) {
        case CACHE_FLIGHT_MINE:
            /* Another process may have ended its flight since the look, with an
             * entry that is younger than now_ms. */
            now_ms = clock_monotonic_ms();
            freshness = lookup_cached(app, short_id, now_ms, out);
            if (freshness != FRESH)
                return lookup_query(app, short_id, freshness, out);
            cache_end_flight(app->cache, short_id, now_ms, CACHE_FLIGHT_MINE);
            return lookup_answer(out);
        case CACHE_FLIGHT_UNSHARED:
            return lookup_query(app, short_id, freshness, out);
        case CACHE_FLIGHT_CORRUPT:
            return store_fail(app->store, RESULT_CORRUPT,
                              "another request has just found it damaged");
        case CACHE_FLIGHT_FAILED:
            if (freshness != USELESS)
                return lookup_answer(out);
            return store_fail(app->store, RESULT_UNAVAILABLE,
                              "another request for this link has just failed");
        case CACHE_FLIGHT_RETRY:
            serve = freshness != USELESS;
            break;
        case CACHE_FLIGHT_OTHERS:
            serve = serve || (freshness == STALE &&
                              (late || now_ms - begin_ms >= STALE_WAIT_MS));
        }
        if (serve)
            return lookup_answer(out);
        if (late)
            return store_fail(app->store, RESULT_UNAVAILABLE,
                              "another request for this link has no answer "
                              "yet");
        nanosleep(&(struct timespec){0, POLL_US * 1000}, NULL);
        now_ms = clock_monotonic_ms();
    }
}

void lookup_changed(struct app *app, const char *short_id)
{
    struct cache_entry entry;
    if (app->cache == NULL)
        return;
    /* Readers wait for this query, and make none that could see less. */
    (void)cache_begin_flight(app->cache, short_id, clock_monotonic_ms(),
                             (int64_t)app->conf->store_timeout * 1000);
    cache_forget(app->cache, short_id);
    (void)lookup_query(app, short_id, CHANGED, &entry);
}

enum result lookup_spend_hit(struct app *app, const char *short_id)
{
    struct cache_entry entry;
    /* Before the query of the store: invariant 3 of cache.h. */
    const uint32_t generation = cache_generation(app->cache, short_id);
    const enum result r = store_spend_hit(app->store, short_id, app->deadline);
    if (r == RESULT_CONFLICT && cache_get(app->cache, short_id, &entry)) {
        entry.spent = true;
        (void)cache_fill(app->cache, short_id, &entry, generation);
    }
    return r;
}
