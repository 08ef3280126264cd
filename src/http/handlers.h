/*
 * What a worker does with a request. One file per handler (h_*.c); the router
 * chooses it. What handlers share is in handlers.c.
 */
#ifndef CURT_HANDLERS_H
#define CURT_HANDLERS_H

#include "http/http.h"
#include "service/app.h"
#include "service/lookup.h"

/* POST /create: stores a link and answers with its short URL. */
void h_create(struct app *app, const struct http_request *req,
              struct http_response *res);

/* GET or HEAD of APP_URL's path and an id: 301 to the long URL. short_id is
 * valid (ids.h). */
void h_redirect(struct app *app, const struct http_request *req,
                const char *short_id, struct http_response *res);

/* GET or HEAD of the same and '+': a page that shows where the link leads. Not
 * counted as a hit. */
void h_preview(struct app *app, const struct http_request *req,
               const char *short_id, struct http_response *res);

/* GET or HEAD of the same and ".qr": the QR code of the short URL, as the query
 * wants it (qr_set()). Not counted as a hit. */
void h_qr(struct app *app, const struct http_request *req, const char *short_id,
          struct http_response *res);

/* GET or HEAD of APP_URL's path, and of "/": as HOME sets it, the page with the
 * form, 404, or 302. */
void h_home(struct app *app, const struct http_request *req,
            struct http_response *res);

/* GET or HEAD of the style sheet, the script or an icon of the pages: the last
 * segment of the path is the name of one of them. */
void h_file(struct app *app, const struct http_request *req,
            struct http_response *res);

/* GET or HEAD of /robots.txt. */
void h_robots(struct app *app, const struct http_request *req,
              struct http_response *res);

/* ---- What handlers share (handlers.c) -------------------------------- */

/* Looks a link up. False: it cannot be followed, which h_refuse_link() has
 * answered; or with 429, because the client has requested too many links that
 * do not exist. */
bool h_find_link(struct app *app, const struct http_request *req,
                 const char *short_id, const char *what,
                 struct cache_entry *link,
                 struct http_response *res) MUST_CHECK;

/* Answers for a link that does not lead anywhere: 404, 410, 500 or 503. r is
 * the result of reading the link from the cache or the store; what is for the
 * log, as in h_log_failure(). False, without an answer: it can be followed. */
bool h_refuse_link(struct app *app, const struct http_request *req,
                   enum result r, const struct cache_entry *link,
                   const char *short_id, const char *what,
                   struct http_response *res);

/* Answers for a link that can be found but not followed now: 404 before its
 * not_before, 410 when it has had its max_hits. False, without an answer: it
 * can be followed, as far as the cache knows. */
bool h_refuse_visit(const struct http_request *req,
                    const struct cache_entry *link, struct http_response *res);

#define H_SPENT "This link has had all its visits."

/* Appends the query of a request to the URL in out, before its fragment: what
 * is not valid in a query (RFC 3986, section 3.4) is percent-encoded. */
void h_add_query(struct buf *out, const char *query, size_t len);

/* The page that comes before a link with a warning: its address and the reason,
 * and `proceed`, the URL that passes. Programs get 403. */
void h_warning(const struct http_request *req, const char *short_id,
               const struct cache_entry *link, const char *proceed,
               struct http_response *res);

/* Room for h_time_text(). */
#define H_TIME_SIZE 17

/* Writes a time of the table, "2018-11-29T00:05:02" (UTC), as pages show it:
 * "2018-11-29 00:05"; "" for NULL and for what is not a time. */
void h_time_text(const char *stored, char text[H_TIME_SIZE]);

/* Room for h_time_left(). */
#define H_LEFT_SIZE 32

/* Writes the seconds until an expiry as a message of pages (page.h): "in 6
 * days", "in a moment" under two minutes. */
void h_time_left(int64_t seconds, char text[H_LEFT_SIZE]);

/* Both of a ttl: when it is (empty for LINK_NEVER), and how long until then. */
void h_expiry_texts(int64_t ttl, char expires[H_TIME_SIZE],
                    char left[H_LEFT_SIZE]);

/* The detail of a 503 for a request that needs the store. */
#define H_STORE_FAILED                                                         \
    "Link storage is temporarily unavailable. Please try again."

/* Logs why the store failed. what: "create", "redirect", ... */
void h_log_failure(struct app *app, enum result r, const char *what);

#endif
