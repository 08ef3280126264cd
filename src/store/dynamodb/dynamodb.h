/*
 * The store on DynamoDB: what its files share. dynamodb.c has the operations on
 * links and records; table.c creates and completes the table and compares it
 * with what curt needs: the string hash key `short_id`, time to live on `ttl`,
 * status ACTIVE. A new table gets all of that, with on-demand billing unless
 * wanted otherwise. deploy/aws/template.yaml describes the same table.
 */
#ifndef CURT_DYNAMODB_H
#define CURT_DYNAMODB_H

#include "aws/client.h"
#include "store/store.h"

/* How long creating and completing a table may take, in seconds; each single
 * request takes at most STORE_TIMEOUT. */
#define DYNAMODB_TABLE_WAIT 60

struct store_dynamodb {
    struct store base;
    struct aws_client *aws;
};

/* ---- Members of store_dynamodb_ops ----------------------------------- */

/* Creates the table if it is missing, waits until it is ACTIVE, enables time to
 * live, and adds what wanted requests. Repeating it changes nothing.
 * RESULT_INVALID: the table exists and curt cannot use it, or its billing
 * differs from wanted (the billing is not changed, all else is done), or the
 * server does not support what is wanted. */
enum result dynamodb_table_create(struct store *s,
                                  const struct store_table *wanted) MUST_CHECK;

/* Appends one line to findings for each difference that stops curt: found,
 * expected, and after the last "; " how to fix it. RESULT_OK: none.
 * RESULT_INVALID: some. RESULT_NOT_FOUND: no table, which is also a line in
 * findings. notes gets those that cost money or safety. Calls DescribeTable,
 * DescribeTimeToLive, and for notes DescribeContinuousBackups, which may be
 * denied. */
enum result dynamodb_table_check(struct store *s, struct buf *findings,
                                 struct buf *notes) MUST_CHECK;

/* Adds lines on the region, the credentials (their source and end, never
 * themselves), each endpoint (name, connection, certificate), this host's
 * clock against the endpoint's, and the table. Changes nothing. Takes at most
 * STORE_TIMEOUT for a call, and some seconds for an endpoint. */
void dynamodb_doctor(struct store *s, struct report *report);

#endif
