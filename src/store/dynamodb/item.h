/*
 * A link as a DynamoDB item: the JSON of AttributeValues (DESIGN, "A link, as
 * stored"), in the shape that the Lambda functions of the tutorial read and
 * write. No I/O.
 *
 * json-c objects that are returned belong to the caller (json_object_put).
 */
#ifndef CURT_DYNAMODB_ITEM_H
#define CURT_DYNAMODB_ITEM_H

#include <stddef.h>
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

/* Plain JSON, whose depth its parser has bounded, as AttributeValues: the
 * attributes of a record. */
struct json_object *dynamodb_item_attributes(struct json_object *plain);

/* The plain JSON of an item's attributes, but for the store's own: short_id,
 * version, ttl and used. */
struct json_object *dynamodb_item_plain(struct json_object *item);

/* The number in an attribute of the item; 0 where it has none. */
uint64_t dynamodb_item_number_at(struct json_object *item, const char *name);

/* The attribute of a field that l has; NULL: it does not have it. */
struct json_object *dynamodb_item_field(const struct link *l, size_t field);

/* Reads an item, or the projected part of one, into *out, an initialised link
 * that is filled on RESULT_OK and left empty otherwise. Attributes that are
 * unknown are ignored. Those that are missing or of a wrong type are NULL; ttl
 * is LINK_NEVER then, hits 0. Within analytics every type is turned into plain
 * JSON: sets become arrays, binary stays base64.
 * RESULT_NOT_FOUND: what is left of a deleted link. RESULT_CORRUPT: no
 * long_url, or one that is not a string or contains NUL. */
enum result dynamodb_item_decode(struct json_object *item,
                                 struct link *out) MUST_CHECK;

#endif
