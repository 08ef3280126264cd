/*
 * A circuit breaker for the store, shared by the processes of a host through
 * RUNTIME_DIR/circuit, a mapped file. When call after call gets no answer it
 * opens: calls fail at once, so that not all workers sit in timeouts, and one
 * call at a time, the probe, is let through to find out whether the store
 * answers again.
 *
 * There is no lock. Every change is one atomic write, so a process that is
 * killed leaves a state that the others go on from; at worst the next probe
 * comes early. A probe has its turn for a limited time only: one that was
 * killed does not stop the probing. While the store answers nothing is written.
 */
#ifndef CURT_BREAKER_H
#define CURT_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

/* Calls without an answer in a row, on this host, before it opens. */
#define BREAKER_FAILURES 5

/* The pause before the first probe, in milliseconds; doubled after each probe
 * that fails, up to the maximum. Each is drawn from half of it to all of it, so
 * that hosts do not probe in step. */
#define BREAKER_PAUSE_MS     500
#define BREAKER_PAUSE_MAX_MS 5000

/* For one thread, which makes one call at a time. */
struct breaker;

/* Opens the file in dir and creates it where it is missing. owner: a number for
 * the store; the file of another store or boot is replaced. Where it cannot be
 * opened this process has a breaker of its own, with a warning in the log.
 * Never fails. */
struct breaker *breaker_new(const char *dir, uint64_t owner);

/* Releases; NULL is allowed. */
void breaker_free(struct breaker *b);

/* Whether the store may be called now; now_ms: clock_monotonic_ms(). probe_ms:
 * how long a call takes at most; after that a probe counts as dead. False:
 * *wait_ms is how long until the next probe, at least 1. NULL: always true. */
bool breaker_allows(struct breaker *b, int64_t now_ms, int64_t probe_ms,
                    int64_t *wait_ms);

/* How the call went that breaker_allows() let through last: the store answered,
 * a refusal included, or it did not. An answer closes the breaker. A failure
 * counts only if the call began after the last opening or closing, so the late
 * timeouts of an outage that is over do not open it again. Opening and closing
 * are logged. NULL is allowed. */
void breaker_report(struct breaker *b, int64_t now_ms, bool answered);

/* For how long it has been open, in milliseconds, at least 1; 0: it is closed
 * (NULL as well). */
int64_t breaker_open_ms(const struct breaker *b, int64_t now_ms);

#endif
