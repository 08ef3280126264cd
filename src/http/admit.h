/*
 * Who may make a request that creates links: not a page of another site, and
 * where CREATE_AUTH = key, only who sends an API key (access.h); and not more
 * than the limits allow (limits.h).
 *
 * A key comes in the field X-Api-Key or as "Authorization: Bearer" (RFC 6750);
 * the page's form has the field api_key for it. Other schemes of Authorization
 * are the web server's matter.
 */
#ifndef CURT_ADMIT_H
#define CURT_ADMIT_H

#include <stdbool.h>

#include "http/handlers.h"
#include "service/access.h"

/* Whether the request may create links. True: *who is filled; its name is empty
 * without a key. False: it has been refused with 401, 403, 429 or 503. */
bool admit_create(struct app *app, const struct http_request *req,
                  struct access_identity *who,
                  struct http_response *res) MUST_CHECK;

/* Takes count links from what the client may create: from CREATE_LIMIT by its
 * address, or from the plan of its key. False: it has been refused with 429 or
 * 503. In either case app->met has the limits, for admit_add_limits(). */
bool admit_take(struct app *app, const struct http_request *req,
                const struct access_identity *who, uint64_t count,
                struct http_response *res) MUST_CHECK;

/* Answers a refusal: a browser gets the page with the form again, its long_url
 * in it, and detail beside it. Fields may be added after it. */
void admit_refuse(const struct app *app, const struct http_request *req,
                  int status, const char *detail, struct http_response *res);

/* Adds RateLimit-Policy and RateLimit to an answer (draft-ietf-httpapi-
 * ratelimit-headers), where met has limits, and Retry-After where waiting
 * helps. q and r are links (requests, of "auth" and "unknown"), w and t
 * seconds. */
void admit_add_limits(struct http_response *res, const struct limits_met *met);

#define ADMIT_DETAIL_SIZE 160

/* The detail of an answer 429 (RFC 6585, section 4) to a request that the last
 * limit of met refused: a message (page.h), in detail, which is returned. */
const char *admit_limits_detail(const struct limits_met *met,
                                char detail[ADMIT_DETAIL_SIZE]);

/* Adds to a complete answer what lets a page of a site in CORS_ORIGINS read it
 * (https://fetch.spec.whatwg.org/, section 3.2). */
void admit_add_cors(const struct conf *conf, const struct http_request *req,
                    struct http_response *res);

/* OPTIONS of /create with an Origin: 204 for a site in CORS_ORIGINS, which may
 * then send the request itself, or 403. */
void admit_preflight(const struct conf *conf, const struct http_request *req,
                     struct http_response *res);

#endif
