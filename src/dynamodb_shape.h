/*
 * A DynamoDB table as its descriptions show it, and what is to be said about
 * it: how it differs from what curt needs, what else an operator should know,
 * and the aws command that changes each. No I/O.
 */
#ifndef CURT_DYNAMODB_SHAPE_H
#define CURT_DYNAMODB_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "store.h"

/* The names of a link's key and of its time to live in the table. */
#define DYNAMODB_KEY "short_id"
#define DYNAMODB_TTL "ttl"

/* What a description says about something that not every server knows. */
enum dynamodb_state {
    DYNAMODB_UNKNOWN, /* the server has no such thing */
    DYNAMODB_DENIED,  /* this access key may not know */
    DYNAMODB_OFF,
    DYNAMODB_ON
};

/* An ARN, and its NUL. */
#define DYNAMODB_ARN_SIZE 1025

struct dynamodb_shape {
    char status[48];                     /* TableStatus */
    char arn[DYNAMODB_ARN_SIZE];         /* of the table */
    char kms_arn[DYNAMODB_ARN_SIZE];     /* of its key, "" for AWS's own */
    char archive_arn[DYNAMODB_ARN_SIZE]; /* of the backup it was put into */
    bool key_fits;                       /* short_id, a string, no sort key */
    bool provisioned;                    /* and not on-demand */
    uint64_t read_units;                 /* per second, where provisioned */
    uint64_t write_units;
    bool replicated;                /* to other regions, */
    bool consistent;                /* which agree on each write */
    enum dynamodb_state protection; /* DeletionProtectionEnabled */
    enum dynamodb_state backups;    /* PointInTimeRecoveryStatus */
    bool ttl_known;                 /* the server has a time to live */
    char ttl_status[24];            /* TimeToLiveStatus */
    bool ttl_fits;                  /* it is, or was last, on ttl */
};

/* How messages name the table and find it: "" or NULL for what is unknown or
 * the client's own. Strings belong to whoever filled it in. */
struct dynamodb_place {
    const char *table;
    const char *region;   /* NULL: not known */
    const char *endpoint; /* what AWS_ENDPOINT_URL_DYNAMODB says, or NULL */
};

/* Whether links can be read and written. */
bool dynamodb_shape_is_usable(const struct dynamodb_shape *shape);

/* Whether the time to live is on, or being turned on. */
bool dynamodb_shape_has_ttl(const struct dynamodb_shape *shape);

/* Appends a line for each difference that keeps curt from its work. */
void dynamodb_shape_differences(const struct dynamodb_shape *shape,
                                const struct dynamodb_place *place,
                                struct buf *out);

/* Appends a line for each thing that costs money or safety and no link. */
void dynamodb_shape_notes(const struct dynamodb_shape *shape,
                          const struct dynamodb_place *place, struct buf *out);

/* Appends a line if the table's billing is not the one that is wanted. */
void dynamodb_shape_billing(const struct dynamodb_shape *shape,
                            const struct dynamodb_place *place,
                            const struct store_table *wanted, struct buf *out);

/* Appends the line for a table that is not there. */
void dynamodb_shape_missing(const struct dynamodb_place *place,
                            struct buf *out);

#endif
