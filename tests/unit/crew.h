/*
 * Processes that work on shared files and are killed while they do: what the
 * tests of mapfile, cache, hits and lookup have in common.
 */
#ifndef CURT_TEST_CREW_H
#define CURT_TEST_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf.h"

/* For cmocka's set-up and tear-down: *state is a configuration whose STATE_DIR
 * and RUNTIME_DIR are a directory that is made, and removed with all that is in
 * it. Warnings are not logged meanwhile. */
int crew_set_up(void **state);
int crew_tear_down(void **state);

/* The path of a file in that directory; valid until the next call. */
const char *crew_path(const struct conf *conf, const char *name);

/* Shared memory of zeros, for counting over processes. It stays. */
void *crew_share(size_t size);

typedef void crew_work(void *arg);

/* A child that works and ends with status 0. */
pid_t crew_start(crew_work *work, void *arg);

/* Kills a child and waits until nothing is left of it. */
void crew_slay(pid_t child);

/* Stops a child, and waits until it does nothing more. */
void crew_freeze(pid_t child);

/* Waits for the end of a child, which must be a good one. */
void crew_finish(pid_t child);

/* Has a child work, instruction by instruction, and kills it as soon as the
 * watched bytes, shared memory, have changed n times. False: it ended before,
 * well. */
bool crew_kill_at_change(crew_work *work, void *arg, const void *watched,
                         size_t len, unsigned n);

/* Has a child work for so many instructions, then does something else, then
 * lets the child go on to its end, a good one. False: it ended before. */
bool crew_interrupt(crew_work *work, void *arg, unsigned steps,
                    crew_work *meanwhile, void *other);

/* In children: waits until count of them have come here; *gate is shared. */
void crew_meet(_Atomic unsigned *gate, unsigned count);

/* 0 to n - 1, differently in each process and run. */
uint32_t crew_random(uint32_t n);

void crew_sleep_us(unsigned us);

#endif
