/*
 * A journal of hits (hits.h) with a fake store: a table in shared memory, which
 * survives a killed process and fails when a case wants it.
 */
#ifndef CURT_TEST_HITS_FIXTURE_H
#define CURT_TEST_HITS_FIXTURE_H

#include <stdatomic.h>

#include "link/ids.h"
#include "processes.h"
#include "service/hits.h"
#include "store/store.h"

/* As in hits.c: slots of the journal, and those that one link may be in. */
#define SLOTS  262144
#define WINDOW 16

/* The limit of a flush without limit. */
_Atomic int64_t *unlimited(void);

#define LINKS    40
#define COUNTERS 3

/* A link's hits and the last sequence number change together, as in a real
 * store: the one that is not current is written, then it
 * becomes current. */
struct row {
    struct {
        uint64_t hits, seq;
    } both[2];
    _Atomic unsigned current;
};

struct fake_table {
    struct row rows[LINKS];
    _Atomic bool gone[LINKS];
    _Atomic bool refused[LINKS];       /* RESULT_UNAVAILABLE for this link */
    _Atomic unsigned trouble;          /* percentage of calls that fail */
    _Atomic int next;                  /* result of the next call; or 0 */
    _Atomic unsigned sendings, faults; /* counted */
    char node[STORE_NODE_SIZE];
    struct counter {
        _Atomic uint64_t counted[LINKS];
        _Atomic uint64_t refused;
    } counters[COUNTERS];
    _Atomic unsigned gate, rounds;
    _Atomic bool stop;
};

/* Results besides those of result.h. */
enum { APPLY = -1, UNKNOWN_NOT_APPLIED = 100, UNKNOWN_APPLIED };

extern struct fake_table *fake_table;
extern struct conf *hits_conf;
extern struct store hits_store;

/* The links. Their windows overlap: they compete for 24 slots. */
extern char link_ids[LINKS][IDS_MAX + 1];
void choose_link_ids(void);

/* Set-up and tear-down. */
int hits_set_up(void **state);
int hits_tear_down(void **state);

/* The hits of a link in the store. */
uint64_t stored_hits(unsigned link);

/* Opens the journal, or fails the case. */
struct hits *open_journal(void);

/* All pending hits. */
uint64_t pending_hits(struct hits *h);

/* Flushes all slots. */
struct hits_flushed flush_journal(struct hits *h);

/* Counts n hits, or fails the case. */
void count_hits(struct hits *h, unsigned link, unsigned n);

#endif
