/* The body of POST /create: JSON or a form. */
#ifndef CURT_BODY_H
#define CURT_BODY_H

#include "http/http.h"

struct json_object;

/* Longest detail and its NUL. */
#define BODY_DETAIL_SIZE 256

/* Reads the body as the members of a link, a JSON object for create_read(), or
 * an array of 1 to STORE_MANY_MAX values, each for a link. Returns 0 and *out,
 * which the caller releases with json_object_put(). Otherwise returns the
 * status of the answer, 400 or 415, and detail is what to tell the client.
 *
 * A body that begins with '{' or '[' is JSON where the media type is missing,
 * JSON, text/plain or a form (curl's default for -d); a form is
 * application/x-www-form-urlencoded. A byte order mark at the beginning is
 * skipped. The last of repeated members counts, a repeated field is 400. A
 * form's long_url with a raw "://" is taken as it is; after it may be fields
 * that create_read() knows, and only if it has no query: anything else was part
 * of the URL. */
int body_read(const struct http_request *req, struct json_object **out,
              char detail[BODY_DETAIL_SIZE]);

#endif
