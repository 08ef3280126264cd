/*
 * RUNTIME_DIR/credentials: the credentials that the processes of a host share.
 * Only its owner can read it, and core dumps leave it out (MADV_DONTDUMP).
 *
 * It has two copies of the set, and a generation that selects one of them. A
 * writer, which holds the lock, fills the other copy and then increments the
 * generation. So a writer that dies at any instruction leaves a whole set, and
 * the kernel releases its lock. Readers take no lock and never wait.
 */
#ifndef CURT_AWS_CREDENTIALS_FILE_H
#define CURT_AWS_CREDENTIALS_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "config/conf.h"

/* Sizes, with the NUL. AWS allows 128 characters for a key id and sets no limit
 * for a token; DynamoDB takes no headers as large as this. */
#define AWS_CREDENTIALS_ID_SIZE     257
#define AWS_CREDENTIALS_SECRET_SIZE 513
#define AWS_CREDENTIALS_TOKEN_SIZE  16385
#define AWS_CREDENTIALS_TEXT_SIZE   2048

/* The last credentials that a source gave, and its failures since. */
struct aws_credentials_set {
    int64_t fetched_ms; /* clock_monotonic_ms(); 0: there are none */
    int64_t expires;    /* epoch seconds; 0: never */
    int64_t renew;      /* when the janitor fetches the next ones, likewise */
    int64_t retry_ms;   /* after a failure: no fetch before this */
    uint32_t failures;  /* in a row; 0: the last fetch succeeded */
    uint32_t result;    /* enum result of the last failure */
    uint64_t logged;    /* a failure is in the log */
    char id[AWS_CREDENTIALS_ID_SIZE];
    char secret[AWS_CREDENTIALS_SECRET_SIZE];
    char token[AWS_CREDENTIALS_TOKEN_SIZE]; /* empty: none */
    char where[AWS_CREDENTIALS_TEXT_SIZE];  /* the source, for the operator */
    char error[AWS_CREDENTIALS_TEXT_SIZE];  /* of the last failure, likewise */
};

struct aws_credentials_file;

/* Opens the file, or creates it. A file of another configuration (all settings
 * and files that decide which credentials the sources give), of another version
 * or from before the last boot is replaced. NULL, and one warning: it cannot be
 * used. NULL without a warning: this is root in the directory of another user,
 * who would get root's credentials. */
struct aws_credentials_file *aws_credentials_file_open(const struct conf *conf);

/* Unmaps, and releases the lock; NULL is allowed. The set stays in the file. */
void aws_credentials_file_close(struct aws_credentials_file *f);

/* Copies the set, whole, if it is another one than f has read or published
 * last; false, and *out unchanged, if not. Then it costs one load. */
bool aws_credentials_file_read(struct aws_credentials_file *f,
                               struct aws_credentials_set *out);

/* The lock of the process that fetches and publishes. False after about
 * wait_us microseconds: another process has it. */
bool aws_credentials_file_lock(struct aws_credentials_file *f,
                               unsigned wait_us);
void aws_credentials_file_unlock(struct aws_credentials_file *f);

/* Replaces the set in the file; the caller has the lock. */
void aws_credentials_file_publish(struct aws_credentials_file *f,
                                  const struct aws_credentials_set *set);

#endif
