/*
 * How much a client may do: RUNTIME_DIR/limits, a mapped file that all
 * processes of a host share. Losing it forgives what was used, and costs at
 * most the leases that were in it.
 *
 * Two tables of 64-bit words, eight to a set. A word is changed by one
 * compare-and-swap, so a process that is killed leaves nothing half done, and
 * nothing is locked.
 *
 * A bucket is a part of the client's hash and the time at which it is full
 * again (the "generic cell rate algorithm"). A full bucket needs no word. Where
 * all eight of a set are in use, the one that is full soonest is given up.
 *
 * A lease is a part of a quota that this host has taken from the store: how
 * many units are left, and the day on which the period ends. Where all eight
 * are in use, the one with the fewest units is given up.
 */
#ifndef CURT_LIMITS_H
#define CURT_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/conf.h"

struct limits;

enum limits_kind {
    LIMITS_KEY,     /* links that an API key creates: the rate of its plan */
    LIMITS_CREATE,  /* links that an address creates without a key */
    LIMITS_AUTH,    /* wrong keys of an address */
    LIMITS_UNKNOWN, /* ids that do not exist, of an address */
    LIMITS_QUOTA    /* links that an API key creates: the quota of its plan */
};

/* What a client may know of a limit, for the fields RateLimit-Policy,
 * RateLimit and Retry-After. */
struct limits_state {
    enum limits_kind kind;
    struct conf_rate rate;
    uint64_t remaining; /* as many are allowed now */
    uint64_t reset;     /* seconds until rate.count are allowed again */
    uint64_t wait;      /* seconds until what was refused is allowed; 0: now, or
                         * never, because it is more than rate.count */
};

/* The limits that a request has met, for the fields of its answer. The one that
 * refused it is the last. */
struct limits_met {
    size_t count;
    struct limits_state states[2];
};

/* The name of a policy in these fields: "key", "create", "auth", "unknown",
 * "quota". */
const char *limits_name(enum limits_kind kind);

/* Opens the file, and creates it where it is missing. NULL where LIMITS is off,
 * and where that is not possible: *failed is true then, and the reason is
 * logged unless *failed was true before. All functions below take NULL. */
struct limits *limits_open(const struct conf *conf, bool *failed);

/* Whether another process has replaced the file since it was opened. */
bool limits_is_replaced(const struct limits *l);

void limits_close(struct limits *l);

/* Takes count units from a bucket, all or none. who: a key's name, or an
 * address (NULL: unknown; those share a bucket), of which an IPv6 address
 * counts by its /64. False: there are not so many. count 0: takes nothing, and
 * returns whether one could be taken. *state is filled in either case. Without
 * the file (l NULL) everything is allowed. No I/O, no allocation, no lock. */
bool limits_take(struct limits *l, enum limits_kind kind, const char *who,
                 struct conf_rate rate, uint64_t count,
                 struct limits_state *state);

/* Longest name of a quota for the functions below, in bytes. */
#define LIMITS_QUOTA_MAX 255

/* Most units that a lease can have. */
#define LIMITS_LEASE_MAX 2047

enum limits_lease {
    LIMITS_LEASE_TAKEN,
    LIMITS_LEASE_SHORT, /* there are not so many: take more from the store */
    LIMITS_LEASE_OVER   /* nor are there in the store */
};

/* Takes count units from the lease of a quota on this host, all or none. today:
 * days since the epoch. *left: how many the host and the store have then. */
enum limits_lease limits_lease_take(struct limits *l, const char *quota,
                                    uint64_t today, uint64_t count,
                                    uint64_t *left);

/* Adds what the store has granted. ends: the day on which the period ends.
 * in_store: what is left there; 0: LIMITS_LEASE_OVER from here on. */
void limits_lease_add(struct limits *l, const char *quota, uint64_t today,
                      uint64_t ends, uint64_t count, uint64_t in_store);

/* One process of the host at a time takes from the store for a quota, so that
 * the host has one lease of it. False: another one still does after deadline
 * (clock_monotonic_ms()). The kernel releases the lock of a process that dies.
 */
bool limits_lease_lock(struct limits *l, const char *quota, int64_t deadline);
void limits_lease_unlock(struct limits *l, const char *quota);

#endif
