/* The body of POST /create: JSON or a form. */
#ifndef CURT_BODY_H
#define CURT_BODY_H

#include "base/buf.h"
#include "http/http.h"

/* Appends the value of long_url, any UTF-8, to *long_url, which must allow as
 * many bytes as the body has, and returns 0. Otherwise returns the status of
 * the answer, 400 or 415, and *detail, static text, is what to tell the client.
 * A body that begins with '{' is JSON where the media type is missing, JSON,
 * text/plain or a form (curl's default for -d); a form is
 * application/x-www-form-urlencoded. A byte order mark at the beginning is
 * skipped. Unknown members and fields are ignored, the last of repeated members
 * counts, a repeated field is 400. A form's value with a raw "://" is
 * taken as it is, and then nothing may follow it: that was part of the URL. */
int body_read(const struct http_request *req, struct buf *long_url,
              const char **detail);

#endif
