/*
 * HTTP as handlers see it: a request that has arrived whole, a response that
 * is built in memory. Independent of FastCGI.
 */
#ifndef CURT_HTTP_H
#define CURT_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "config/conf.h"
#include "http/page.h"
#include "http/trace_id.h"

/* Hard limits of one response, in bytes: a Location of URL_MAX and the other
 * fields; a page that has the URL five times, each byte of it escaped. */
#define HTTP_HEAD_MAX 16384
#define HTTP_BODY_MAX 262144

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OTHER };

/* All strings belong to the receiver of the request (fcgi.h) and live until it
 * is finished; fields that did not come are NULL. */
struct http_request {
    enum http_method method;
    const char *method_name; /* as it came */
    const char *uri;         /* REQUEST_URI, as it came */
    const char *path;        /* up to '?', percent-decoded once */
    size_t path_len;         /* it may have NUL bytes in it */
    const char *query;       /* after '?', as it came; never NULL */
    size_t query_len;
    const char *accept;
    const char *accept_language;
    const char *if_none_match;
    const char *content_type;
    const char *idempotency_key;
    const char *user_agent;
    const char *sec_fetch_site;
    const char *origin;
    const char *api_key;       /* X-Api-Key */
    const char *authorization; /* a secret, as the one before */
    const char *remote_addr;
    const char *body; /* never NULL */
    size_t body_len;
    int body_fault; /* the status, where a body that the handler needs is
                     * missing: 413 over MAX_BODY, 400 it ended early, 408 not
                     * in time, 503 too many wait for theirs; else 0 */
    char trace_id[TRACE_ID_MAX + 1];
};

/* Built by the functions below: http_begin(), fields, body, http_end(). What
 * would exceed the limits is cut off, and buf_failed() is true of its part. */
struct http_response {
    const struct conf *conf; /* what pages look like */
    int status;
    struct buf head; /* field lines, each with its CRLF; no Status line */
    struct buf body;
};

/* conf must outlive res. */
void http_response_init(struct http_response *res, const struct conf *conf);
void http_response_free(struct http_response *res);

/* Starts the response over, with the fields that each has: the trace id, and
 * Retry-After (seconds) where status is 503. */
void http_begin(struct http_response *res, const struct http_request *req,
                int status);

/* Appends a field line. Name and value are trusted to be free of CR, LF and
 * NUL: they are curt's own or were normalised before (url.h). */
void http_field(struct http_response *res, const char *name, const char *value);

/* Appends Vary for an answer that depends on the reader: on Accept and
 * Accept-Language, and, where there are CORS_ORIGINS, on Origin. */
void http_vary(struct http_response *res);

/* Starts an answer that caches may keep. etag: an entity tag with its quotes,
 * without a comma or a space. cache_control: the value of that field. True:
 * 200, to be completed. False: the client has it already (If-None-Match, RFC
 * 9110, section 13.1.2), and the answer is 304 and complete. */
bool http_begin_cached(struct http_response *res,
                       const struct http_request *req, const char *etag,
                       const char *cache_control);

/* Ends the head: Content-Type and the length of the body that was appended. */
void http_end(struct http_response *res, const char *content_type);

/* Whether Accept names text/html and prefers nothing to it that curt sends to
 * programs (JSON, plain text): a browser. */
bool http_wants_page(const struct http_request *req);

/* A whole answer that is a page: the template `name` with its values (page.h),
 * in the language that Accept-Language (RFC 9110, section 12.5.4) prefers. Not
 * to be cached. Fields may be added after it. */
void http_page(struct http_response *res, const struct http_request *req,
               int status, const char *name, const struct page_value *values);

/* A whole answer for what went wrong: application/problem+json (RFC 9457), or
 * the page error.html for a browser. detail is shown to the client: plain
 * words, any bytes; for pages it is a message (page.h). Fields such as Allow
 * may be added after it. */
void http_problem(struct http_response *res, const struct http_request *req,
                  int status, const char *detail);

/* The same with one more member, unless its text is empty: any bytes. The page
 * has it as the value of that name. */
void http_problem_with(struct http_response *res,
                       const struct http_request *req, int status,
                       const char *detail, const char *name, const char *text);

/* The reason phrase of a status (RFC 9110, section 15); "" if unknown. */
const char *http_reason(int status);

/* The quality that Accept (RFC 9110, section 12.5.1) gives one media type, such
 * as "text/html", by its own name: 0 to 1000; -1 where the type is not named.
 * Wildcards do not name a type. accept may be NULL. */
int http_accept_quality(const char *accept, const char *type);

/* Whether a Content-Type is this media type, its parameters aside. */
bool http_type_is(const char *content_type, const char *type);

#endif
