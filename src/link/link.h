/* A link: the item as it is stored, in memory. */
#ifndef CURT_LINK_H
#define CURT_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Value of ttl for a link that never expires. */
#define LINK_NEVER INT64_MAX

/* Limits of what a client gives a link. */
#define LINK_TITLE_MAX  512 /* bytes */
#define LINK_REASON_MAX 512 /* bytes */
#define LINK_TAG_MAX    64  /* bytes of one tag */
#define LINK_TAGS_MAX   32  /* tags */

/* What a redirect needs to know beside the URL. */
struct link_rules {
    uint64_t not_before;      /* seconds since the epoch; 0: at once */
    uint64_t max_hits;        /* redirects until it is gone; 0: any number */
    uint64_t redirect_status; /* 301, 302, 307, 308; 0: REDIRECT_STATUS */
    bool forward_query;       /* the query of the request is added to the URL */
    bool disabled;            /* 410, with the reason */
    bool warning;             /* a page with the reason comes before the URL */
};

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
    struct link_rules rules;
    char *reason;     /* why it is disabled or has a warning, or NULL */
    char *title;      /* or NULL */
    char *tags;       /* the text of a JSON array of strings, or NULL */
    char *key;        /* the name of the API key that made it, or NULL */
    uint64_t version; /* how often it was changed */
    char *ttl_note;   /* why the stored ttl does not end the link, or NULL */
};

/* The attributes that a link need not have, each absent where it is empty, 0 or
 * false: how they are stored and shown is the same for all. */
enum link_type { LINK_TEXT, LINK_TAGS, LINK_NUMBER, LINK_FLAG };

struct link_field {
    const char *name; /* in the table */
    enum link_type type;
    size_t offset; /* in struct link: char *, char *, uint64_t, bool */
};

enum {
    LINK_FIELD_TITLE,
    LINK_FIELD_TAGS,
    LINK_FIELD_NOT_BEFORE,
    LINK_FIELD_MAX_HITS,
    LINK_FIELD_REDIRECT_STATUS,
    LINK_FIELD_FORWARD_QUERY,
    LINK_FIELD_DISABLED,
    LINK_FIELD_WARNING,
    LINK_FIELD_REASON,
    LINK_FIELD_KEY,
    LINK_FIELD_VERSION,
    LINK_FIELDS
};

extern const struct link_field link_fields[LINK_FIELDS];

/* Where l has field i; the type says which of them may be called. */
char **link_text_at(const struct link *l, size_t i); /* TEXT, TAGS */
uint64_t *link_number_at(const struct link *l, size_t i);
bool *link_flag_at(const struct link *l, size_t i);

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
 * left out for a link that never expires, and so are the fields that it does
 * not have; key and version are there only when whole is true. analytics, null
 * if it is not one JSON object by json_parse(), and ttl_note likewise. The
 * result has no control characters: utf8_add_json(). */
void link_to_json(const struct link *l, bool whole, struct buf *out);

#endif
