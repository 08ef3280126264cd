/*
 * The DynamoDB table: created, completed, and compared with what curt needs:
 * the string hash key `short_id`, time to live on `ttl`, status ACTIVE. A new
 * table gets all of that, with on-demand billing unless wanted otherwise.
 * deploy/aws/template.yaml describes the same table.
 */
#ifndef CURT_DYNAMODB_TABLE_H
#define CURT_DYNAMODB_TABLE_H

#include "aws/client.h"
#include "base/buf.h"
#include "base/result.h"
#include "config/conf.h"
#include "store/store.h"

/* How long creating and completing a table may take, in seconds; each single
 * request takes at most STORE_TIMEOUT. */
#define DYNAMODB_TABLE_WAIT 60

/* Creates the table if it is missing, waits until it is ACTIVE, enables time to
 * live, and adds what wanted requests. Repeating it changes nothing. On failure
 * *error has the reason. RESULT_INVALID: the table exists and curt cannot use
 * it, or its billing differs from wanted (the billing is not changed, all else
 * is done), or the server does not support what is wanted. */
enum result dynamodb_table_create(struct aws_client *aws,
                                  const struct conf *conf,
                                  const struct store_table *wanted,
                                  struct buf *error) MUST_CHECK;

/* Appends one line to findings for each difference that stops curt: found,
 * expected, and after the last "; " how to fix it. RESULT_OK: none.
 * RESULT_INVALID: some. RESULT_NOT_FOUND: no table, which is also a line in
 * findings. On other failures aws_client_error() has the reason. Calls
 * DescribeTable and DescribeTimeToLive. */
enum result dynamodb_table_check(struct aws_client *aws,
                                 const struct conf *conf,
                                 struct buf *findings) MUST_CHECK;

/* Appends one line to notes for each difference that costs money or safety and
 * does not stop curt; none for a table with findings. On failure
 * aws_client_error() has the reason. Also calls DescribeContinuousBackups,
 * which may be denied. */
enum result dynamodb_table_notes(struct aws_client *aws,
                                 const struct conf *conf,
                                 struct buf *notes) MUST_CHECK;

#endif
