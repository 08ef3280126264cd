/*
 * What a DynamoDB table's descriptions say, read into a struct dynamodb_shape;
 * and what every request about the table itself has in common.
 */
#ifndef CURT_DYNAMODB_DESCRIBE_H
#define CURT_DYNAMODB_DESCRIBE_H

#include "aws_client.h"
#include "conf.h"
#include "dynamodb_shape.h"
#include "result.h"

struct json_object;

/* A request's body with the table's name in it, which the caller releases. */
struct json_object *dynamodb_request(const struct conf *conf);

/* Sends a request about the table, within STORE_TIMEOUT; body is released.
 * Results and answer as of aws_client_call(). */
enum result dynamodb_call(struct aws_client *aws, const struct conf *conf,
                          const char *action, struct json_object *body,
                          struct aws_answer *answer) MUST_CHECK;

/* DescribeTable, into *out, which forgets all else. RESULT_NOT_FOUND: no such
 * table. On failure *out is unchanged and aws_client_error() says why, as for
 * the next one. */
enum result dynamodb_describe_table(struct aws_client *aws,
                                    const struct conf *conf,
                                    struct dynamodb_shape *out) MUST_CHECK;

/* DescribeTimeToLive, of a table that can be used. A server that has no such
 * thing is no failure: out->ttl_known. */
enum result dynamodb_describe_ttl(struct aws_client *aws,
                                  const struct conf *conf,
                                  struct dynamodb_shape *out) MUST_CHECK;

/* DescribeContinuousBackups, into out->backups. Never fails: a table can be
 * used by one who may not know this. */
void dynamodb_describe_backups(struct aws_client *aws, const struct conf *conf,
                               struct dynamodb_shape *out);

#endif
