/*
 * Child processes that work on shared files, and are stopped or killed while
 * they do.
 */
#ifndef CURT_TEST_PROCESSES_H
#define CURT_TEST_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "config/conf.h"

/* Set-up and tear-down: *state is a configuration (struct conf) whose STATE_DIR
 * and RUNTIME_DIR are one temporary directory. Only errors are logged. */
int temp_conf_set_up(void **state);
int temp_conf_tear_down(void **state);

/* The path of a file in that directory; valid until the next call. */
const char *temp_path(const struct conf *conf, const char *name);

/* Memory of zeros that children share; it is never freed. */
void *share_memory(size_t size);

typedef void process_work(void *arg);

/* Starts a child that does the work and exits with status 0. */
pid_t process_start(process_work *work, void *arg);

/* Kills a child and waits for its end. One that has exited before must have had
 * status 0. */
void process_kill(pid_t child);

/* Stops a child with SIGSTOP and waits until it is stopped. */
void process_stop(pid_t child);

/* Waits until a child exits, with status 0. */
void process_wait(pid_t child);

/* Starts a child that has the lock of a mapfile and keeps it; returns when it
 * has it. */
pid_t process_start_with_lock(const char *path);

/* Runs the work in a child, instruction by instruction, and kills the child
 * when the watched bytes of shared memory have changed n times. Returns false
 * if the work ended before. */
bool process_kill_at_change(process_work *work, void *arg, const void *watched,
                            size_t len, unsigned n);

/* For the work: what it does between two calls is not done instruction by
 * instruction, which takes long. */
void process_skip(void);

/* How many changes the work makes. */
unsigned process_count_changes(process_work *work, void *arg,
                               const void *watched, size_t len);

/* Runs the work in a child for so many instructions, then something else in
 * this process, then the rest of the work. Returns false if the work ended
 * before. */
bool process_interrupt(process_work *work, void *arg, unsigned steps,
                       process_work *meanwhile, void *other);

/* In children: waits until count of them are here; *gate is shared memory. */
void process_barrier(_Atomic unsigned *gate, unsigned count);

/* A random number from 0 to n - 1, different in each process. */
uint32_t random_below(uint32_t n);

void sleep_us(unsigned us);

#endif
