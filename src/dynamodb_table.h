/*
 * The DynamoDB table itself: made, completed, compared with what curt needs: a
 * string hash key `short_id`, and the time to live on `ttl`. On-demand billing
 * is what a new table gets; one with provisioned capacity serves as well.
 */
#ifndef CURT_DYNAMODB_TABLE_H
#define CURT_DYNAMODB_TABLE_H

#include "aws_client.h"
#include "buf.h"
#include "conf.h"
#include "result.h"

/* How long making a table may take until it can be used, in seconds; each
 * single request takes at most STORE_TIMEOUT. */
#define DYNAMODB_TABLE_WAIT 60

/* Makes the table if it is missing, waits until it can be used, and turns the
 * time to live on. Repeating it changes nothing. On failure *error says why:
 * RESULT_INVALID: there is such a table, but not one for curt. */
enum result dynamodb_table_create(struct aws_client *aws,
                                  const struct conf *conf,
                                  struct buf *error) MUST_CHECK;

/* Appends one line per difference to findings, each with what mends it.
 * RESULT_OK: none. RESULT_INVALID: some. RESULT_NOT_FOUND: no table, which is
 * a line in findings, too. On other failures aws_client_error() says why. */
enum result dynamodb_table_check(struct aws_client *aws,
                                 const struct conf *conf,
                                 struct buf *findings) MUST_CHECK;

#endif
