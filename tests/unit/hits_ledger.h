/*
 * A journal of hits (hits.h) over a store that is a table in shared memory:
 * what it counted outlives whoever is killed. It answers as a case wants it.
 */
#ifndef CURT_TEST_HITS_LEDGER_H
#define CURT_TEST_HITS_LEDGER_H

#include <stdatomic.h>

#include "crew.h"
#include "hits.h"
#include "ids.h"
#include "store.h"

/* As in hits.c: slots of the journal, and those that one link may be in. */
#define SLOTS  262144
#define WINDOW 16

/* A flush that may send everything. */
_Atomic int64_t *ledger_unlimited(void);

#define LINKS    40
#define COUNTERS 3

/* A link's hits and the last sequence number change together, as in a real
 * store: the one that is not in force is written, then comes into force. */
struct row {
    struct {
        uint64_t hits, seq;
    } both[2];
    _Atomic unsigned in_force;
};

struct ledger {
    struct row rows[LINKS];
    _Atomic bool gone[LINKS];
    _Atomic bool refused[LINKS];       /* RESULT_UNAVAILABLE, this one alone */
    _Atomic unsigned trouble;          /* so many of 100 sendings go wrong */
    _Atomic int next;                  /* what the next sending gives; or 0 */
    _Atomic unsigned sendings, faults; /* so many there were */
    char node[STORE_NODE_SIZE];
    struct counter {
        _Atomic uint64_t counted[LINKS];
        _Atomic uint64_t refused;
    } counters[COUNTERS];
    _Atomic unsigned gate, rounds;
    _Atomic bool stop;
};

/* Results of which the writer learns, or not, what became of the write. */
enum { APPLY = -1, UNKNOWN_NOT_APPLIED = 100, UNKNOWN_APPLIED };

extern struct ledger *ledger;
extern struct conf *ledger_conf;
extern struct store ledger_store;

/* The links. Their windows overlap: they compete for 24 slots. */
extern char ledger_ids[LINKS][IDS_MAX + 1];
void ledger_choose_ids(void);

/* For cmocka_unit_test_setup_teardown(). */
int ledger_set_up(void **state);
int ledger_tear_down(void **state);

/* Hits that the store has of a link. */
uint64_t ledger_stored(unsigned link);

/* The journal, which must open. */
struct hits *ledger_open(void);

/* All pending hits. */
uint64_t ledger_pending(struct hits *h);

/* A flush of all slots. */
struct hits_flushed ledger_flush(struct hits *h);

/* Counts n hits, each of which must be counted. */
void ledger_count(struct hits *h, unsigned link, unsigned n);

#endif
