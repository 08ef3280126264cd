/*
 * The store: where links live. One interface, a static table of operations per
 * back end (sqlite/sqlite.c, dynamodb/dynamodb.c), chosen by STORE.
 *
 * A store belongs to one process: made after the fork, never shared. It
 * connects when it is first used and again after a fault, so an unavailable
 * store costs only the requests that need it.
 *
 * Each operation takes at most STORE_TIMEOUT seconds with all its attempts, and
 * ends by deadline (clock_monotonic_ms()), which several operations of one
 * request share; 0: no deadline of the caller's.
 *
 * Results common to all operations: RESULT_DENIED, RESULT_THROTTLED,
 * RESULT_UNAVAILABLE and RESULT_INTERNAL, with the reason and how to fix it in
 * store_error().
 */
#ifndef CURT_STORE_H
#define CURT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"
#include "config/conf.h"
#include "link/link.h"

struct json_object;
struct report;
struct store;

/* How much of an item a reader wants. */
enum store_view {
    STORE_TARGET,  /* short_id, long_url, ttl, rules and reason: what a
                      redirect needs */
    STORE_REFRESH, /* the same, for a reader with an older answer: it does
                      not wait for a store that throttles */
    STORE_WHOLE    /* every attribute */
};

/* How long SQLite keeps an expired link, in seconds: 410 until then. */
#define STORE_KEEP_EXPIRED 86400

/* The store that conf names. No I/O, never fails; conf must outlive it. */
struct store *store_new(const struct conf *conf);

/* The same for a process of a pool: it shares with the others of this host
 * what they know about the store, its credentials and whether it answers, in
 * files that are opened here. */
struct store *store_new_pooled(const struct conf *conf);

/* A number that tells one set of links from another: it differs where STORE,
 * the table, its region or endpoint, or the SQLite file does. */
uint64_t store_identity(const struct conf *conf);

/* Closes and releases; NULL is allowed. */
void store_free(struct store *s);

/* Stores a new link, durably, if its short_id is free. RESULT_CONFLICT: it is
 * taken, nothing changed. RESULT_INVALID: the item is not storable.
 * RESULT_UNKNOWN: it may be stored or not. */
enum result store_create(struct store *s, const struct link *l,
                         int64_t deadline) MUST_CHECK;

/* The same for several links, at most STORE_MANY_MAX: results[i] is that of
 * links[i]. A store that can (SQLite) writes them in one transaction. */
void store_create_many(struct store *s, const struct link *links, size_t count,
                       int64_t deadline, enum result results[]);

#define STORE_MANY_MAX 100

/* Reads a link into *out, an initialised link that is filled on RESULT_OK and
 * left empty otherwise. Expired links are returned as they are.
 * RESULT_NOT_FOUND: no such link. RESULT_CORRUPT: an item without a long_url,
 * or with one that is not a string. A missing or odd ttl is LINK_NEVER; the
 * first odd one is logged. */
enum result store_get(struct store *s, const char *short_id,
                      enum store_view view, int64_t deadline,
                      struct link *out) MUST_CHECK;

/* After a read whose result is answered as a create: what another process has
 * written is durable as well, for which that process may still wait.
 * RESULT_UNKNOWN: it may be lost with the power. */
enum result store_settle(struct store *s, int64_t deadline) MUST_CHECK;

/* Replaces what can be edited of a link, durably: long_url, ttl and the fields
 * but key. Only if the stored link still has l->version; the new one is one
 * more. RESULT_CONFLICT: it was changed since l was read. RESULT_NOT_FOUND:
 * there is no such link. RESULT_UNKNOWN: it may be changed or not. */
enum result store_update(struct store *s, const struct link *l,
                         int64_t deadline) MUST_CHECK;

/* Counts a hit of a link with max_hits, durably, if it has had fewer. The same
 * call counts the hits of all hosts, so that there are never more.
 * RESULT_CONFLICT: it has had them all, or it was deleted. */
enum result store_spend_hit(struct store *s, const char *short_id,
                            int64_t deadline) MUST_CHECK;

/* Removes a link, durably. Its id stays taken: what is left of the link says
 * when it was deleted. RESULT_NOT_FOUND: there was none. */
enum result store_delete(struct store *s, const char *short_id,
                         int64_t deadline) MUST_CHECK;

/* Removes a record, or a link whose id was never given to anyone, durably:
 * nothing is left of it. RESULT_NOT_FOUND: there was none. */
enum result store_purge(struct store *s, const char *key,
                        int64_t deadline) MUST_CHECK;

/* The journal (hits.h) that sends hits, and its number for this flush. */
struct store_flush {
    const char *node; /* STORE_NODE_SIZE - 1 letters and digits */
    uint64_t seq;     /* larger than any before of this node */
};

#define STORE_NODE_SIZE 13

/* Adds n to the link's hits. RESULT_NOT_FOUND: the link does not exist, and is
 * not created.
 *
 * With a flush the same call can be repeated until its outcome is known: the
 * store keeps the last number of each node with the link.
 * RESULT_CONFLICT: it has this number or a later one; nothing is added.
 * RESULT_CORRUPT: nothing can be added to the hits of this item, for example
 * because they are not a number. With flush NULL a repetition counts twice. */
enum result store_add_hits(struct store *s, const char *short_id, uint64_t n,
                           const struct store_flush *flush,
                           int64_t deadline) MUST_CHECK;

/* Removes at most limit links that expired STORE_KEEP_EXPIRED before now, and
 * as many records that have expired; *removed is how many links. A store that
 * removes them itself (DynamoDB) does nothing.
 */
enum result store_expire(struct store *s, int64_t now, unsigned limit,
                         unsigned *removed) MUST_CHECK;

/* ---- Records: what is not a link ------------------------------------- */

/* A record is a JSON object under a key that begins with '~', which no id can
 * (DESIGN, "Everything that is not a link"). Its members are attributes of the
 * item on DynamoDB; the names short_id, version, ttl and used are the store's.
 */

/* Longest key, in bytes. */
#define STORE_KEY_MAX 200

struct store_record {
    struct json_object *value; /* its owner: json_object_put() */
    uint64_t version;          /* 1 for a new one */
    int64_t ttl;               /* seconds since the epoch, or LINK_NEVER */
};

/* Reads a record. consistent: what was written before the call is seen; else
 * DynamoDB may answer with what was there a moment before. RESULT_NOT_FOUND:
 * there is none, or it has expired. RESULT_CORRUPT: it is not a record. */
enum result store_record_get(struct store *s, const char *key, bool consistent,
                             int64_t deadline,
                             struct store_record *out) MUST_CHECK;

/* Stores a record, durably, if the stored one still has record->version (0:
 * there is none, or it has expired); the new version is one more.
 * RESULT_CONFLICT: it has another. A lost answer is resolved by reading it
 * back: RESULT_UNKNOWN only where that fails too. */
enum result store_record_put(struct store *s, const char *key,
                             const struct store_record *record,
                             int64_t deadline) MUST_CHECK;

/* Adds n to the counter of a record, which is made where it is missing, with
 * this ttl. *total: the sum. Not repeated: RESULT_UNKNOWN, it may have been
 * added. Not durable against a power loss on SQLite. */
enum result store_record_count(struct store *s, const char *key, uint64_t n,
                               int64_t ttl, int64_t deadline,
                               uint64_t *total) MUST_CHECK;

/* When the newest link was created, in seconds since the epoch, as the clock of
 * that time had it. RESULT_NOT_FOUND: there are no links, or the store has no
 * order (DynamoDB). */
enum result store_newest(struct store *s, int64_t *created_at) MUST_CHECK;

/* AWS's limits for the tags of a table; the lengths are in characters. */
#define STORE_TAGS_MAX      50
#define STORE_TAG_KEY_MAX   128
#define STORE_TAG_VALUE_MAX 256

struct store_tag {
    const char *key; /* 1 to STORE_TAG_KEY_MAX, not beginning with "aws:" */
    const char *value;
};

enum store_billing {
    STORE_BILLING_ANY, /* a new table is on-demand */
    STORE_BILLING_ON_DEMAND,
    STORE_BILLING_PROVISIONED
};

/* Wishes for a table; all zero: only what curt needs. Only
 * DynamoDB knows such things. Strings belong to the caller. */
struct store_table {
    enum store_billing billing;
    uint64_t read_units; /* per second, at least 1 where provisioned */
    uint64_t write_units;
    bool deletion_protection;
    bool point_in_time_recovery;
    struct store_tag tags[STORE_TAGS_MAX];
    size_t tag_count;
};

/* Creates the table, or completes it with what is missing of wanted (NULL:
 * no wishes); repeating it changes nothing. Everything else stays as it is, and
 * so does the billing of a table that exists: RESULT_INVALID, and store_error()
 * names the difference. */
enum result store_table_create(struct store *s,
                               const struct store_table *wanted) MUST_CHECK;

/* Compares the table with what curt needs and appends one line per difference,
 * with what fixes it, to findings. RESULT_OK: no difference. RESULT_NOT_FOUND:
 * no table yet. RESULT_INVALID: differences. Changes nothing.
 * notes, which may be NULL, gets one line for each property of a usable table
 * that is worth knowing and does not stop curt, with what changes it. */
enum result store_table_check(struct store *s, struct buf *findings,
                              struct buf *notes) MUST_CHECK;

/* Renews ahead of time what operations would have to wait for: the credentials
 * of DynamoDB. The janitor calls it regularly; failures are logged. */
void store_tend(struct store *s);

/* Looks at everything that the store needs and adds what it finds to report,
 * for `curt doctor`. Changes nothing. */
void store_inspect(struct store *s, struct report *report);

/* Why the last operation that did not return RESULT_OK failed, for the log and
 * the operator. Empty if it needs no more words. Valid until the next call. */
const char *store_error(const struct store *s);

/* ---- For the back ends ---------------------------------------------- */

struct store_ops {
    const char *name; /* value of STORE */
    /* A text for store_identity(), which the caller frees. */
    char *(*identity)(const struct conf *conf);
    struct store *(*make)(const struct conf *conf, bool pooled);
    void (*release)(struct store *s);
    enum result (*create)(struct store *s, const struct link *l);
    /* NULL: one by one */
    void (*create_many)(struct store *s, const struct link *links, size_t count,
                        enum result results[]);
    enum result (*get)(struct store *s, const char *short_id,
                       enum store_view view, struct link *out);
    enum result (*settle)(struct store *s); /* NULL: what is read is durable */
    enum result (*update)(struct store *s, const struct link *l);
    enum result (*spend_hit)(struct store *s, const char *short_id);
    enum result (*record_get)(struct store *s, const char *key, bool consistent,
                              struct store_record *out);
    enum result (*record_put)(struct store *s, const char *key,
                              const struct store_record *record);
    enum result (*record_count)(struct store *s, const char *key, uint64_t n,
                                int64_t ttl, uint64_t *total);
    enum result (*remove)(struct store *s, const char *short_id);
    enum result (*purge)(struct store *s, const char *key);
    enum result (*add_hits)(struct store *s, const char *short_id, uint64_t n,
                            const struct store_flush *flush);
    /* NULL: it removes expired links itself (DynamoDB, by its ttl). */
    enum result (*expire)(struct store *s, int64_t now, unsigned limit,
                          unsigned *removed);
    enum result (*newest)(struct store *s, int64_t *created_at); /* or NULL */
    void (*tend)(struct store *s); /* NULL: nothing to do */
    enum result (*table_create)(struct store *s,
                                const struct store_table *wanted);
    enum result (*table_check)(struct store *s, struct buf *findings,
                               struct buf *notes);
    void (*inspect)(struct store *s, struct report *report);
};

/* First member of each back end's own structure. */
struct store {
    const struct store_ops *ops;
    const struct conf *conf;
    struct buf error;
    int64_t deadline; /* of the operation under way, never 0 */
    bool ttl_noted;   /* a ttl that does not do what it should was logged */
};

extern const struct store_ops store_sqlite_ops;
extern const struct store_ops store_dynamodb_ops;

/* Sets store_error() and returns r, so that a back end can write
 * `return store_fail(s, RESULT_DENIED, "...", ...)`. */
enum result store_fail(struct store *s, enum result r, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
