/* A link: the item as it is stored, in memory. */
#ifndef CURT_LINK_H
#define CURT_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* Value of ttl for a link that never expires. */
#define LINK_NEVER INT64_MAX

/* A link's attributes, named as in the table. All strings are owned by the
 * link and released by link_free(). */
struct link {
    char *short_id;
    char *long_url;
    char *short_url;
    char *created_at; /* "2018-11-29T00:05:02", UTC */
    int64_t ttl;      /* seconds since the epoch, or LINK_NEVER */
    uint64_t hits;
    char *analytics; /* the map, as the text of a JSON object */
    char *ttl_note;  /* why the stored ttl does not end the link, or NULL */
};

/* Everything empty; ttl is LINK_NEVER. */
void link_init(struct link *l);

/* Releases the strings and initialises l again. */
void link_free(struct link *l);

/* Replaces one of the strings by a copy of value. */
void link_set(char **member, const char *value);

/* Takes over a ttl as it is stored: a number of seconds, or text (NULL: none)
 * that is not a number and means never, as DynamoDB itself treats it ("Using
 * time to live (TTL) in DynamoDB": a number, in seconds). Where the writer most
 * likely meant something else, ttl_note says what is wrong. type: what the
 * store calls the text. */
void link_set_ttl(struct link *l, int64_t seconds);
void link_set_odd_ttl(struct link *l, const char *type, const char *text);

/* Whether a link with this ttl must not be served any more at the time now. It
 * is served up to and including the second before its ttl. */
bool link_expired(int64_t ttl, int64_t now);

/* What came with the request that creates a link; NULL where the header was
 * absent. Any bytes: what is not UTF-8 becomes U+FFFD. */
struct link_client {
    const char *user_agent;
    const char *source_ip;
    const char *xray_trace_id;
};

/* The analytics map of a new link, as JSON text that the caller frees: the
 * three members above (null where absent) and the query parameters of
 * long_url, read as Python's urllib.parse.parse_qsl reads them (pairs split at
 * '&' and the first '=', '+' is a space, empty values dropped, the last of
 * equal names counts). A parameter never replaces one of the three. Names that
 * are empty or contain NUL are left out: DynamoDB has no such names. */
char *link_analytics(const char *long_url, const struct link_client *client);

/* Appends l as a JSON object, on one line, with the names of the table. ttl is
 * left out for a link that never expires. analytics, null if it is not one JSON
 * object by json_parse(), and ttl_note are there only when whole is true. The
 * result has no control characters: utf8_add_json(). */
void link_to_json(const struct link *l, bool whole, struct buf *out);

#endif
