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
 * 1. What a reader gets was written as a whole, for the id it wanted.
 * 2. Writers hold the file's lock, which the kernel releases when its holder
 *    dies. An entry that a killed writer left half written has an odd number:
 *    it is not read, and the next writer that needs its place starts it over.
 * 3. What was read from the store before a change on this host (create,
 *    delete) is not served after it: an entry carries the number of changes
 *    that was seen before the query of the store (cache_generation), and a
 *    reader compares. So a change is one atomic addition, which no lock can
 *    hold up.
 * 4. The file is of one store and one boot (the header's owner); that of
 *    another one replaces it. A process that maps a file that was replaced
 *    finds nothing in it, so that a change cannot miss it.
 */
#ifndef CURT_CACHE_H
#define CURT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/conf.h"
#include "link/link.h"
#include "link/url.h"

#define CACHE_WAYS 8

struct cache;

/* A link as a redirect needs it, or the knowledge that there is none. Or, under
 * the key of a record (store.h), the record's JSON text as url. */
struct cache_entry {
    bool exists;
    bool spent;      /* it has had its max_hits */
    int64_t ttl;     /* as in struct link */
    int64_t read_ms; /* clock_monotonic_ms() of the store's answer */
    struct link_rules rules;
    size_t url_len;
    size_t reason_len;
    char url[URL_MAX + 1 + LINK_REASON_MAX + 1]; /* then the reason, with a NUL
                                                  * each */
};

/* The reason of an entry; "" where it has none. */
static inline const char *cache_reason(const struct cache_entry *entry)
{
    return entry->url + entry->url_len + 1;
}

/* Sets url and reason, of at most URL_MAX and LINK_REASON_MAX bytes. */
void cache_set_text(struct cache_entry *entry, const char *url, size_t url_len,
                    const char *reason);

/* Whether CACHE_SIZE and CACHE_TTL are above 0. */
bool cache_is_wanted(const struct conf *conf);

/* Opens the cache, and creates it where it is missing. NULL where it is not
 * wanted, and where that is not possible: *failed is true then, and the reason
 * is logged unless *failed was true before. Its end is logged likewise.
 * All functions below take NULL: nothing is found, nothing is kept. */
struct cache *cache_open(const struct conf *conf, bool *failed);

/* Opens the cache only if it exists; else NULL. It is the pool's, whatever
 * CACHE_SIZE, the region or the environment of this process have. */
struct cache *cache_open_existing(const struct conf *conf);

/* Whether another process has replaced the file since it was opened: it then
 * finds nothing any more, and should be opened again. */
bool cache_is_replaced(const struct cache *c);

void cache_close(struct cache *c);

/* Copies what is known of an id, of any age, to *out. False: nothing. */
bool cache_get(struct cache *c, const char *short_id, struct cache_entry *out);

/* The number of changes on this host that concern the id, to be read before
 * the query of the store. */
uint32_t cache_generation(struct cache *c, const char *short_id);

/* Keeps what the store answered, unless there was a change since. False: the
 * lock was busy, and the others do not get the answer. */
bool cache_fill(struct cache *c, const char *short_id,
                const struct cache_entry *entry, uint32_t generation);

/* A change on this host: what is known of the id is forgotten. Call it when
 * the store has the change, or may have it. */
void cache_forget(struct cache *c, const char *short_id);

/* The same for a new link: that there was none is forgotten. */
void cache_forget_missing(struct cache *c, const char *short_id);

/* A flight: one process of the host queries the store for an id, the others
 * wait for its answer, or know for a second that it failed. */
enum cache_flight {
    CACHE_FLIGHT_MINE,     /* the caller queries and calls cache_end_flight() */
    CACHE_FLIGHT_FAILED,   /* another process queried, and the store failed */
    CACHE_FLIGHT_CORRUPT,  /* another queried; the link cannot be served */
    CACHE_FLIGHT_UNSHARED, /* another queried, but the answer is not in the
                            * cache: each process queries for itself */
    CACHE_FLIGHT_OTHERS,   /* another is querying */
    CACHE_FLIGHT_RETRY     /* another is querying; the query before failed */
};

/* A flight that began max_ms ago or longer does not count any more: the process
 * that began it is dead or stopped. */
enum cache_flight cache_begin_flight(struct cache *c, const char *short_id,
                                     int64_t now_ms, int64_t max_ms);
/* end: CACHE_FLIGHT_FAILED, _CORRUPT or _UNSHARED, which answers the others for
 * a second; CACHE_FLIGHT_MINE: the answer is in the cache. */
void cache_end_flight(struct cache *c, const char *short_id, int64_t now_ms,
                      enum cache_flight end);

#endif
