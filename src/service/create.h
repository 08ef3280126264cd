/*
 * Creating links: what POST /create, `curt create` and `curt edit` have in
 * common. A client gives members (doc/openapi.yaml, "Create") as JSON or as
 * text; one table has their names, types and limits.
 */
#ifndef CURT_CREATE_H
#define CURT_CREATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/result.h"
#include "config/conf.h"
#include "link/link.h"
#include "service/hostlist.h"
#include "store/store.h"

struct json_object;

/* How often an id is drawn before the id space counts as full. */
#define CREATE_DRAWS 8

/* Limits of members; the others are in link.h. */
#define CREATE_HITS_MAX    1000000000
#define CREATE_SECONDS_MAX 3155760000  /* of ttl, as LINK_TTL */
#define CREATE_TIME_MAX    99999999999 /* larger ones are milliseconds */

/* Of an Idempotency-Key: bytes, and the seconds that it is remembered. */
#define CREATE_KEY_MAX  255
#define CREATE_KEY_KEPT 86400

/* A link that a client wants, and what became of it. */
struct create_request {
    struct link link; /* as wanted; on RESULT_OK as stored */
    const char *url;  /* the long_url as given, or NULL; of the members */
    size_t url_len;
    bool chosen; /* its id is the client's */
    bool ttl_given;
    bool find_if_exists;
    bool existed; /* nothing was created: the link was there */
    enum result result;
    /* What was refused, both static text: "title", "must be ...". */
    const char *member, *reason;
};

/* Who creates, and until when (store.h). Everything belongs to the caller. */
struct create_context {
    const struct conf *conf;
    struct store *store;
    struct hostlist *hosts; /* for targets_accept() */
    int64_t deadline;
    struct link_client client;
    const char *key; /* the name of the client's API key, or NULL */
    /* The value of the field Idempotency-Key, or NULL, and the body that came
     * with it; for one link only. */
    const char *idempotency_key;
    const char *body;
    size_t body_len;
};

/* The name of member i; NULL after the last. */
const char *create_member(size_t i);

/* The value of a member that was given as text of len bytes, in a form or as an
 * option: empty is null, tags are divided by commas, on and off are true and
 * false. What has another type than the member's stays a string, which
 * create_read() refuses. NULL is null; the caller releases it. */
struct json_object *create_value(const char *member, const char *text,
                                 size_t len);

/* Takes the members of a JSON object over into r, whose link is initialised, or
 * that which is edited; null clears, unknown members are ignored. members must
 * outlive r. On failure r->result is RESULT_INVALID, with member and reason. */
void create_read(struct json_object *members, struct create_request *r);

/* Completes what was read of a link that is new or edited: its long_url is
 * normalised and accepted or not, as targets_accept() does with c->hosts.
 * Returns r->result. */
enum result create_check(const struct create_context *c,
                         struct create_request *r);

/* Creates count links, at most STORE_MANY_MAX, durably, from requests that were
 * read; those that were refused already stay as they are. Each has its result:
 * RESULT_INVALID: refused, with member and reason.
 * RESULT_CONFLICT with a member: the short_id is taken, or the Idempotency-Key
 * was used with another body. Without: CREATE_DRAWS ids in a row were taken,
 * which is logged.
 * RESULT_UNAVAILABLE also: the clock of this host cannot be right, so the times
 * of the link would be wrong.
 * Anything else: the store failed, and store_error() has the last reason.
 *
 * With an Idempotency-Key or find_if_exists the id is reserved first, in a
 * record that the same request finds again on any host. A link that was not
 * created after that, because a process died, is created by the repetition. */
void create_links(const struct create_context *c,
                  struct create_request *requests, size_t count);

#endif
