/*
 * The DynamoDB table itself: made, completed, compared with what curt needs: a
 * string hash key `short_id`. A new table gets the time to live on `ttl`, too,
 * and on-demand billing unless something else is asked for.
 */
#ifndef CURT_DYNAMODB_TABLE_H
#define CURT_DYNAMODB_TABLE_H

#include "aws_client.h"
#include "buf.h"
#include "conf.h"
#include "result.h"
#include "store.h"

/* How long making a table may take until it can be used and has all that was
 * asked for, in seconds; each single request takes at most STORE_TIMEOUT. */
#define DYNAMODB_TABLE_WAIT 60

/* Makes the table if it is missing, waits until it can be used, turns the time
 * to live on, and completes what wanted asks for. Repeating it changes nothing.
 * On failure *error says why. RESULT_INVALID: there is such a table, but not
 * one for curt, or it is billed otherwise than wanted (which is left so, all
 * else is done), or the server does not know what is wanted. */
enum result dynamodb_table_create(struct aws_client *aws,
                                  const struct conf *conf,
                                  const struct store_table *wanted,
                                  struct buf *error) MUST_CHECK;

/* Appends one line per difference to findings, each with what mends it.
 * RESULT_OK: none. RESULT_INVALID: some. RESULT_NOT_FOUND: no table, which is
 * a line in findings, too. On other failures aws_client_error() says why.
 * Calls DescribeTable and DescribeTimeToLive. */
enum result dynamodb_table_check(struct aws_client *aws,
                                 const struct conf *conf,
                                 struct buf *findings) MUST_CHECK;

/* Appends one line to notes for each property that is worth knowing and keeps
 * curt from nothing, with what changes it; none for a table that cannot be
 * used now. On failure aws_client_error() says why. Calls
 * DescribeContinuousBackups besides, and goes without where it is denied. */
enum result dynamodb_table_notes(struct aws_client *aws,
                                 const struct conf *conf,
                                 struct buf *notes) MUST_CHECK;

#endif
