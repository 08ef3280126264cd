/*-
 * Finding a link for a redirect: in the cache first, then in the store.
 *
 * What an outage of the store does, from the inside out:
 *
 * | what               | of       | when                | then                |
 * | ------------------ | -------- | ------------------- | ------------------- |
 * | aws/retry, within  | process  | no answer, 5xx      | 3 attempts within   |
 * | a call             |          |                     | STORE_TIMEOUT, of a |
 * |                    |          |                     | quota of retries    |
 * | aws/breaker,       | host     | 5 calls in a row    | calls fail at once; |
 * | around calls to    |          | unanswered          | a probe every 0.25  |
 * | DynamoDB           |          |                     | to 5 s              |
 * | flight, in the     | link and | a query failed      | no query for 1 s;   |
 * | cache              | host     |                     | known links are     |
 * |                    |          |                     | served stale        |
 *
 * SQLite has no breaker: its file is on this host. Where several endpoints are
 * configured, a failed one is skipped for 10 s before the breaker is reached.
 */
#ifndef CURT_LOOKUP_H
#define CURT_LOOKUP_H

#include "base/result.h"
#include "service/cache.h"

struct app;

/* Finds a link, which is in *out on RESULT_OK; expired links are found as well.
 * Its url can go into a Location header as it is. RESULT_NOT_FOUND: it does not
 * exist. RESULT_LIMITED: it is not in the cache, and app->client, if that is
 * not NULL, is over UNKNOWN_LIMIT; app->met has that limit. RESULT_CORRUPT: it
 * cannot be served (logged). Otherwise the store failed, the cache has nothing
 * that may still be served, and store_error() says why. Waits for the store
 * until app->deadline.
 *
 * A link is served from the cache for CACHE_TTL; the store is queried once per
 * id and host, ahead of time for a link that is being read. While the store
 * fails, what the cache has is served for CACHE_STALE.
 *
 * The same for a record (store.h) of at most URL_MAX bytes of JSON, under a key
 * of at most IDS_MAX: out->url is its text. Missing ones are remembered. After
 * a change of a record, call cache_forget() with its key. */
enum result lookup_entry(struct app *app, const char *short_id,
                         struct cache_entry *out) MUST_CHECK;

/* After a change of a link on this host that the store has, or may have: what
 * the cache knows is replaced by what a consistent read finds, so that the next
 * request sees the change. */
void lookup_changed(struct app *app, const char *short_id);

/* store_spend_hit(). That there are no hits left is remembered in the cache for
 * as long as the link's entry is: such a link costs the store a call in
 * CACHE_TTL, and a change on this host counts at once. */
enum result lookup_spend_hit(struct app *app, const char *short_id) MUST_CHECK;

#endif
