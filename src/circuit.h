/*
 * A circuit breaker for the store, shared by the processes of a host:
 * RUNTIME_DIR/circuit, a mapped file. When the store does not answer one call
 * after another, the circuit opens: calls fail at once, so that workers do not
 * all sit in timeouts, until one of them, the probe, finds that it is back.
 *
 * Invariants
 *
 * 1. All that is shared is one word, and each step is one compare-and-swap on
 *    it. So a process that is killed at any instruction has either made a step
 *    or not, and there is no lock to leave behind.
 * 2. A call counts only for the period (from one opening or closing to the
 *    next) in which it asked for leave. So a call that began before the circuit
 *    opened and ends after it cannot close it, nor make an outage look shorter;
 *    and the timeouts of an outage that are still to come when the probe has
 *    found its end do not open it again.
 * 3. It opens only when CIRCUIT_FAILURES calls of one closed period have failed
 *    and none of that period has been answered in between. In an outage no call
 *    that begins is answered, so at most one success for each call under way
 *    can set the count back: it opens after a bounded number of failures.
 * 4. It closes only when the probe that is under way has been answered. There
 *    is at most one: it has the leave for probe_ms, and when it has not told by
 *    then, it counts as dead, another call becomes the probe, and what the old
 *    one may still tell is without effect.
 * 5. While the store answers nothing is written: the word's cache line stays
 *    shared among processors.
 *
 * Times in the word are CLOCK_MONOTONIC's, cut to the bits they have; they are
 * compared modulo. Where nobody asked for more than 17 minutes in an outage,
 * the time to wait may be taken for one that is not over yet, once, and for no
 * longer than the longest wait there is. The file is of one boot and one store:
 * it is made anew for any other.
 */
#ifndef CURT_CIRCUIT_H
#define CURT_CIRCUIT_H

#include <stdbool.h>
#include <stdint.h>

#include "conf.h"

/* Calls that fail in a row, on this host, before it opens. */
#define CIRCUIT_FAILURES 5

/* How long it stays open before the first probe, in milliseconds; twice as
 * long after each probe that fails, up to the maximum. Each time is drawn from
 * half of it to all of it, so that hosts do not probe in step. */
#define CIRCUIT_OPEN_MS     500
#define CIRCUIT_OPEN_MAX_MS 5000

/* One process's hold of it: for one thread, and one call at a time. A thread
 * opens its own. */
struct circuit;

/* The circuit of the store that owner stands for (store_identity()). Another
 * owner's state, and that of another boot, is forgotten; processes that still
 * hold it share it among themselves. Where the file cannot be had the process
 * has one of its own, with a warning in the log. Never fails. */
struct circuit *circuit_open(const struct conf *conf, uint64_t owner);

/* Closes; NULL is allowed. */
void circuit_close(struct circuit *c);

/* What may be done with a call. NULL: CIRCUIT_GO. */
enum circuit_leave {
    CIRCUIT_GO,    /* the store is fine, as far as is known */
    CIRCUIT_PROBE, /* this call is the probe: its outcome decides */
    CIRCUIT_WAIT   /* no call now */
};

/* Asks for leave to call the store; now_ms: clock_monotonic_ms(). probe_ms: how
 * long a probe may take before its process counts as dead (1 to 500,000; other
 * values are taken for the nearest of these), alike in all processes. On
 * CIRCUIT_WAIT *wait_ms is how long until the next probe, or until the one
 * under way counts as dead, at least 1. Who has been the probe and asks again
 * without having told is the probe again. */
enum circuit_leave circuit_ask(struct circuit *c, int64_t now_ms,
                               int64_t probe_ms, int64_t *wait_ms);

/* How the call went for which circuit_ask() gave leave last: the store answered
 * (whatever it said, a refusal too), or it did not. May be said of each attempt
 * at a call; of a probe, the first counts. Without leave it has no effect.
 * Opening and closing are logged by the process that does it. NULL is
 * allowed. */
void circuit_tell(struct circuit *c, int64_t now_ms, bool answered);

/* Since when it is open, in milliseconds before now_ms, at least 1; 0: it is
 * closed (NULL too). */
int64_t circuit_open_since(const struct circuit *c, int64_t now_ms);

#endif
