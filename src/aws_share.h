/*
 * The keys that the processes of a host share: RUNTIME_DIR/credentials, which
 * nobody but its owner can read and which core dumps leave out (MADV_DONTDUMP).
 *
 * It has two copies of the state and a generation that says which of them
 * holds. A writer, who has the lock, fills the other one and then counts the
 * generation up; so one that dies at any instruction leaves a whole state, and
 * its lock goes with it. Readers take no lock and never wait.
 */
#ifndef CURT_AWS_SHARE_H
#define CURT_AWS_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "aws_refresh.h"
#include "conf.h"
#include "result.h"

/* Sizes, with the NUL. AWS says 128 characters for a key id and sets no limit
 * for a token; one that does not fit is not shared. */
#define AWS_SHARE_ID_SIZE     257
#define AWS_SHARE_SECRET_SIZE 513
#define AWS_SHARE_TOKEN_SIZE  16385
#define AWS_SHARE_TEXT_SIZE   2048

/* Keys, and what is known of them. */
struct aws_share_keys {
    uint64_t serial;  /* counts the keys of a file up; 0: there are none */
    uint64_t source;  /* which of the chain */
    int64_t taken_ms; /* when, by the clock that never steps */
    struct aws_refresh_plan plan;
    char id[AWS_SHARE_ID_SIZE];
    char secret[AWS_SHARE_SECRET_SIZE];
    char token[AWS_SHARE_TOKEN_SIZE]; /* empty: none */
    char where[AWS_SHARE_TEXT_SIZE];
};

/* The last failure of the sources, without secrets. */
struct aws_share_failure {
    uint32_t count;  /* in a row; 0: the last time it went well */
    uint32_t result; /* enum result */
    uint64_t logged; /* somebody said it */
    int64_t given;   /* how long who asked could have waited, in ms */
    int64_t at_ms;
    int64_t again_ms; /* when those who have no keys may ask again, */
    int64_t renew_ms; /* and those who have */
    char text[AWS_SHARE_TEXT_SIZE];
};

struct aws_share_state {
    struct aws_share_keys keys;
    struct aws_share_failure failure;
};

struct aws_share;

/* Opens the file, or makes it. One of another configuration (whatever decides
 * which keys the sources give), another version or before the last boot is
 * replaced. NULL, and one warning, where it cannot be had; NULL without one
 * for root in the directory of another user, who would get root's keys. */
struct aws_share *aws_share_open(const struct conf *conf);

/* Unmaps; NULL is allowed. The keys stay in the file for the others. */
void aws_share_close(struct aws_share *s);

/* The generation that holds now: another one than before means that the state
 * has changed. 0: nothing was published yet. */
uint64_t aws_share_generation(const struct aws_share *s);

/* Copies the state, which is whole, and returns its generation. */
uint64_t aws_share_read(const struct aws_share *s, struct aws_share_state *out);

/* Takes the right to ask the sources and to publish: one process of the host
 * has it, and loses it when it dies. Waits wait_us microseconds at most. until
 * is when the holder will have finished, in ms of clock_monotonic_ms(). */
bool aws_share_lock(struct aws_share *s, unsigned wait_us, int64_t until);
void aws_share_unlock(struct aws_share *s);

/* Whether who holds the right ought to have finished by now_ms: it is stopped,
 * and must not stop the others. */
bool aws_share_overdue(const struct aws_share *s, int64_t now_ms);

/* Puts a new state in force; the caller has the lock. Returns its generation.
 */
uint64_t aws_share_publish(struct aws_share *s,
                           const struct aws_share_state *state);

#endif
