/*
 * The hit journal: STATE_DIR/hits, a mapped file that all processes of a host
 * share. Counting a hit is a memory write; the janitor moves the counts to the
 * store.
 *
 * Invariants
 *
 * 1. A counted hit is in the journal or in the store, never in neither: the
 *    count of a slot only grows while the slot has a link, and a slot is only
 *    freed when everything it counted is in the store. Hits are dropped only
 *    when their link was deleted, or when its item can never be updated
 *    (RESULT_CORRUPT, in the log as an error).
 * 2. No hit is in the store twice: what is sent for a slot (how many, under
 *    which sequence number) is written down before it is sent, and sent again
 *    just so until the store reports the outcome. The store keeps the last
 *    number per link and node and refuses a number that it has seen.
 * 3. A hit is counted for the link it was meant for: the slot's generation and
 *    count are one word, and counting is a compare-and-swap on it. So a slot
 *    that was given to another link in between is noticed.
 * 4. This holds when any process is killed at any instruction: each step is
 *    one atomic store, and what a step needs is there before it. Slots are
 *    claimed under a lock that the kernel releases when its holder dies.
 * 5. A power loss takes the hits since the last flush began and those that the
 *    store itself loses (SQLite: the last unsynced commits), no more, and none
 *    is counted twice by it: what is written down is on the disk before it is
 *    sent, and where the disk fails nothing is sent.
 * 6. The journal belongs to one store (the header's owner), and its hits never
 *    go to another one. That of another store is kept as hits.<owner>, and is
 *    used again when that store is.
 * 7. A flush looks only at pages that have a mark, and touches no other. A page
 *    gets its mark before a slot of it is used, and keeps it. A power loss can
 *    take a mark and leave the slot: the first flush after a boot looks at all
 *    slots and marks their pages again.
 * 8. One process at a time flushes, whatever became of the janitor's lock: it
 *    holds a lock on the journal itself.
 *
 * tests/model/hits.pml is this protocol for a model checker. A change of a step
 * here is made there as well.
 */
#ifndef CURT_HITS_H
#define CURT_HITS_H

#include <stdbool.h>
#include <stdint.h>

#include "config/conf.h"
#include "store/store.h"

struct hits;

/* Opens the journal of the store that conf names, and creates it where it is
 * missing; one of another version is kept as hits.old. NULL where that is not
 * possible: *failed is true then, and the reason is logged unless *failed was
 * true before. Its end is logged likewise. */
struct hits *hits_open(const struct conf *conf, bool *failed);

/* Opens the journal only if it exists, of whatever store it is: the pool's may
 * have its region from another environment. RESULT_NOT_FOUND: it does not.
 * Otherwise *reason says why not. *out is NULL unless RESULT_OK. */
enum result hits_open_existing(const struct conf *conf, struct hits **out,
                               const char **reason) MUST_CHECK;

/* Hits that wait in the journals of other stores, kept in STATE_DIR. */
uint64_t hits_of_other_stores(const struct conf *conf);

/* Closes; NULL is allowed. What is pending stays. */
void hits_close(struct hits *h);

/* Counts one hit of a link. False, and the hit is not counted: the journal is
 * not there (NULL is allowed), has no room, or another process held its lock
 * for 50 ms. */
bool hits_count(struct hits *h, const char *short_id);

/* What one flush did. */
struct hits_flushed {
    uint64_t hits;    /* taken by the store */
    uint64_t links;   /* whose hits are settled */
    uint64_t dropped; /* hits of deleted links */
    uint64_t failed;  /* links whose hits stay pending */
    bool throttled;   /* that is why */
    char error[512];  /* why the first of them failed */
};

/* Begins a flush: writes down, on the disk, what is to be sent. False: nothing
 * may be sent now, because another process flushes this journal (*reason is
 * NULL) or because of *reason. From the first flush until hits_close() no other
 * process can flush. part of parts: the share of the slots that this call looks
 * at, 0 of 1 for all. NULL journal: there is nothing to send. */
bool hits_begin_flush(struct hits *h, unsigned part, unsigned parts,
                      const char **reason) MUST_CHECK;

/* Sends what hits_begin_flush() has written down, one update per link. With
 * part and parts several threads, each with a store of its own, can divide the
 * work. Ends early when the store fails several times in a row; a link that it
 * refuses stays pending and holds up no other. *left: how many links may still
 * be sent, by all parts together; at the first throttled answer it becomes 0,
 * and it is below 0 if there would have been more. */
void hits_flush(struct hits *h, struct store *store, unsigned part,
                unsigned parts, _Atomic int64_t *left,
                struct hits_flushed *out);

/* Hits that are not in the store yet: of one link, and of all. NULL journal:
 * none. A snapshot, while others count. */
uint64_t hits_pending(const struct hits *h, const char *short_id);
void hits_pending_all(const struct hits *h, uint64_t *hits, uint64_t *links);

#endif
