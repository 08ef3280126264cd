/*
 * The link cache: RUNTIME_DIR/cache, a mapped file that all processes of a
 * host share. Losing it costs speed, never data.
 *
 * Set-associative, in three classes by the length of the URL; a set has
 * CACHE_WAYS entries. Readers take no lock: each entry has a sequence number
 * that is odd while the entry is written, and what was copied counts only if
 * the number was even and is still the same.
 *
 * Invariants
 *
 * 1. What a reader gets was written as a whole, for the id it asked for.
 * 2. Writers hold the file's lock, which the kernel releases when its holder
 *    dies. An entry that a killed writer left half written has an odd number:
 *    nobody reads it, and the next writer to want its place starts it over.
 * 3. What was read from the store before a change on this host (create,
 *    delete) is not served after it: an entry carries the number of changes
 *    that was seen before the store was asked (cache_generation), and a reader
 *    compares. So a change is one atomic addition, which no lock can hold up.
 */
#ifndef CURT_CACHE_H
#define CURT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"
#include "url.h"

#define CACHE_WAYS 8

struct cache;

/* A link as a redirect needs it, or the knowledge that there is none. */
struct cache_entry {
    bool exists;
    int64_t ttl;      /* as in struct link */
    int64_t read_ms;  /* clock_monotonic_ms() of the store's answer */
    int64_t retry_ms; /* the store failed: do not ask again before; or 0 */
    size_t url_len;
    char url[URL_MAX + 1];
};

/* Opens the cache, and makes it where it is missing. NULL where that is not
 * possible (a warning in the log) or not wanted (CACHE_SIZE or CACHE_TTL 0).
 * All functions below take NULL: nothing is found, nothing is kept. */
struct cache *cache_open(const struct conf *conf);

/* Opens the cache only if it is there; else NULL, without a word. */
struct cache *cache_open_existing(const struct conf *conf);

void cache_close(struct cache *c);

/* Copies what is known of an id, of any age, to *out. False: nothing. */
bool cache_get(struct cache *c, const char *short_id, struct cache_entry *out);

/* The number of changes on this host that concern the id, to be read before
 * the store is asked. */
uint32_t cache_generation(struct cache *c, const char *short_id);

/* Keeps what the store answered, unless there was a change since. */
void cache_fill(struct cache *c, const char *short_id,
                const struct cache_entry *entry, uint32_t generation);

/* A change on this host: what is known of the id is forgotten. Call it when
 * the store has the change, or may have it. */
void cache_forget(struct cache *c, const char *short_id);

/* The same for a new link: that there was none is forgotten. */
void cache_forget_missing(struct cache *c, const char *short_id);

/* Sets retry_ms of an entry that is there. */
void cache_set_retry(struct cache *c, const char *short_id, int64_t retry_ms);

/* Who asks the store for an id. */
enum cache_flight {
    CACHE_FLIGHT_MINE,   /* the caller; cache_end_flight() follows */
    CACHE_FLIGHT_OTHERS, /* another process, which is not back yet */
    CACHE_FLIGHT_FAILED  /* one did, and the store failed just now */
};

/* A flight that began max_ms ago or longer does not count any more: whoever
 * began it is dead or stopped. */
enum cache_flight cache_begin_flight(struct cache *c, const char *short_id,
                                     int64_t now_ms, int64_t max_ms);
void cache_end_flight(struct cache *c, const char *short_id, int64_t now_ms,
                      bool failed);

#endif
