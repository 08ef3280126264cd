/*
 * JSON (RFC 8259) by json-c. Its header, <json-c/json.h>, is included only
 * where objects are built or read.
 */
#ifndef CURT_JSON_H
#define CURT_JSON_H

#include <stddef.h>

#include "base/result.h"

struct json_object;

/* How deep arrays and objects may nest, where the caller has no other limit. */
#define JSON_LEVELS 32

/* Reads the len bytes at text, followed by a NUL, as one JSON value of at most
 * levels levels. *out, which the caller releases with json_object_put(), is
 * NULL for null and on failure. RESULT_INVALID: it is not JSON. RESULT_CORRUPT:
 * it nests deeper. json-c in its strict mode also accepts NaN, Infinity,
 * numbers such as 1. and -.5, control characters in strings and names in single
 * quotes; a name ends at \u0000, and half of a surrogate pair is U+FFFD. */
enum result json_parse(const char *text, size_t len, int levels,
                       struct json_object **out) MUST_CHECK;

/* The string that object has under name; NULL: it has none, or object is not an
 * object. Belongs to object. */
const char *json_text_at(struct json_object *object, const char *name);

/* Adds the member name: a string, or null where text is NULL. */
void json_add_text(struct json_object *object, const char *name,
                   const char *text);

/* The JSON text of a value, on one line. Belongs to value, until it changes. */
const char *json_text(struct json_object *value);

#endif
