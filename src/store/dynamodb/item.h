/*
 * A link as a DynamoDB item: the JSON of AttributeValues (DESIGN, "A link, as
 * stored"), in the shape that the Lambda functions of the tutorial read and
 * write. No I/O.
 *
 * json-c objects that are returned belong to the caller (json_object_put).
 */
#ifndef CURT_DYNAMODB_ITEM_H
#define CURT_DYNAMODB_ITEM_H

#include <stdint.h>

#include "base/result.h"
#include "link/link.h"

struct json_object;

/* {"S": text} and {"N": "n"}. */
struct json_object *dynamodb_item_string(const char *text);
struct json_object *dynamodb_item_number(uint64_t n);

/* The item of l, which has all its strings; ttl is left out for LINK_NEVER. An
 * empty string within analytics becomes {"NULL": true}, as if it were absent:
 * older engines refuse empty strings, and the item reads alike everywhere.
 * RESULT_INVALID: l.analytics is not a JSON object. */
enum result dynamodb_item_encode(const struct link *l,
                                 struct json_object **item) MUST_CHECK;

/* Reads an item, or the projected part of one, into *out, an initialised link
 * that is filled on RESULT_OK and left empty otherwise. Attributes that are
 * unknown are ignored. Those that are missing or of a wrong type are NULL; ttl
 * is LINK_NEVER then, hits 0. Within analytics every type is turned into plain
 * JSON: sets become arrays, binary stays base64.
 * RESULT_CORRUPT: no long_url, or one that is not a string or contains NUL. */
enum result dynamodb_item_decode(struct json_object *item,
                                 struct link *out) MUST_CHECK;

#endif
